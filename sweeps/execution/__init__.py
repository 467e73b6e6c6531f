"""From settings to finished runs: planning, workers, the driver."""
