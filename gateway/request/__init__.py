"""One prediction request: the checks in their order, and the application that carries them out."""
