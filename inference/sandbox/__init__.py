"""Confined child processes for files that strangers made."""
