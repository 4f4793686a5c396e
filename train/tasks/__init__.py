"""Tasks: everything that learning differs in, as one scalar each."""
