"""Weights & Biases: a view of the runs, never the record itself."""
