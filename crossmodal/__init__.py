"""Cross-modal search: CLIP embeddings, vector collections, and the service around them."""

__version__ = "0.1.0"
