"""Which source text an object depends on: its hash is part of a run's id."""
