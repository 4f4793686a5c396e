"""Training: a config becomes data, task and optimizer; one step trains it; one loop runs the step."""
