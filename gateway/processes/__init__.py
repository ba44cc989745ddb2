"""The master, its workers, their metrics."""
