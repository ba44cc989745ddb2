"""Who may call an API: networks and keys."""
