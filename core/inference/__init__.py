"""A finished run's best weights: evaluated, and used to predict."""
