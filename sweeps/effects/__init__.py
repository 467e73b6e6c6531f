"""Analysis: pure functions on arrays, which know neither torch nor Optuna."""
