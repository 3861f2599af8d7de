"""Fill the collections from files: `python -m indexer --help`. Shares the service's wiring, so ids cannot drift."""
