"""Devices, hosts, and processes."""
