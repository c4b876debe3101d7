"""Checkpoints: ordinary Hugging Face model directories that a run continues from on any layout."""
