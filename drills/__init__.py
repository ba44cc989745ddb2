"""Fault drills: an installation is broken on purpose under load, and its books are compared with its callers'."""
