"""Scaling: design, sweep, records, laws, fits, plans and reports."""
