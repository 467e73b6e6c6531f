"""What is shown while runs are trained."""
