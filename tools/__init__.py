"""Tools that make what the repository carries, and what tests and benchmarks share."""
