"""What a person sees while runs are trained: how they stand, as a table or in plain lines."""
