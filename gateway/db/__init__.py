"""Connections to PostgreSQL that may fail, and every statement that the gateway sends."""
