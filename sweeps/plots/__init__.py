"""Pictures of what happened: plain values in, matplotlib figures out; no display is needed."""
