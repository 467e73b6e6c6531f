"""The configuration: its schema, values as typed, components by name, experiment files."""
