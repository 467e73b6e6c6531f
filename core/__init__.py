"""One run: from a configuration to a trained, recorded, reproducible model."""
