"""The Create API tab: `state` reads the API, one module a panel says what it shows, `parts` renders and compares."""
