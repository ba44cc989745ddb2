"""Counts and quota: exact when processes are killed."""
