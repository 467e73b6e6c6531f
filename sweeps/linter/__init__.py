"""The linter of method: what a reader should know of how a study was made before believing it."""
