"""Writes an analysis down: terminal, page, figures, fit.json."""
