"""The catalogue: one file per experiment."""
