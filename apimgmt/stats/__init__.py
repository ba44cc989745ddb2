"""Counts as people see them."""
