"""How an API is called: addresses, examples, one real call."""
