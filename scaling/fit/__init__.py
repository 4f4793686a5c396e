"""Fits a law to runs and says how far to trust it."""
