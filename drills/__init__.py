"""Fault drills: the installation is broken on purpose under load, and what its callers got is compared with its books."""
