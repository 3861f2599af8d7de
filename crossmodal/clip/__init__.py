"""CLIP through OpenCLIP: which model, its texts, its fingerprint, and the runtimes that run it."""
