"""Statistics on arrays: pure functions that know neither torch nor Optuna."""
