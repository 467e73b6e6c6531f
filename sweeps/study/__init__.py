"""What is asked and what was found: requests, axes, settings, designs, results."""
