"""A finished run's best weights: evaluated, and asked for predictions."""
