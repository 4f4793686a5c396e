"""Data: a batch is a function of (seed, step).  No JAX in here."""
