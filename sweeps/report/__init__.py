"""Pages that show a study or a run: one HTML file each, which asks nothing of anybody."""
