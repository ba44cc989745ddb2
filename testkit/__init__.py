"""What tests, drills and benchmarks share: installations to run, rows and models to serve, clients that call."""
