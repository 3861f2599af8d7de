"""The use cases: index, search, compare, list, delete. Over ports only; knows no HTTP and names no adapter."""
