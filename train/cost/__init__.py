"""What a step costs: FLOPs, memory, time."""
