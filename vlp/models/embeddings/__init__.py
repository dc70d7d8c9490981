"""Embeddings: what truly differs between architectures, one file a paper."""
