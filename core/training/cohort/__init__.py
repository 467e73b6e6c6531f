"""The cohort engine: runs of equal shapes trained together as one batched program."""
