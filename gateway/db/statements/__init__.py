"""Every SQL statement of the gateway, by what it is about."""
