"""What the console and the gateway agree on. Small and pure; imports nothing else of this project."""
