"""Models, tasks, losses, metrics, optimizers: what a configuration names."""
