"""The linter of method: warnings about how a study was made."""
