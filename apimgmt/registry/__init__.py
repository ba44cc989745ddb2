"""Models and their versions: uploads, descriptions, the store."""
