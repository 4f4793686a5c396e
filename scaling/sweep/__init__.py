"""Makes the runs: designs, a queue in a folder, and workers."""
