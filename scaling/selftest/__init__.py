"""Checks with a known answer, and the data that have one."""
