"""Bytes of local files and URLs."""
