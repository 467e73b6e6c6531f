"""Controlled experiments for PyTorch: one hyperparameter at a time, all else provably equal."""
