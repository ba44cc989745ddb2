"""Fault drills: an installation is broken on purpose under load, and its counts are compared with its callers'."""
