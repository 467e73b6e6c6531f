"""Figures, and the HTML page of a study or a run."""
