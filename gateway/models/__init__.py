"""Loaded models, where each one runs, and what happened to them."""
