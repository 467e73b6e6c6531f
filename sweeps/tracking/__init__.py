"""Trackers: views of runs in other tools (Weights & Biases), never the record itself."""
