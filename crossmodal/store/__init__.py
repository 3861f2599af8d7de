"""Where embeddings are kept: one port (`base.py`), one file per adapter, one filter language."""
