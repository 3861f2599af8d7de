"""`python -m indexer eval`: how well the configured model, and store, find what belongs together in the user's own data."""
