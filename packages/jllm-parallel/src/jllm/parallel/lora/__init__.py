"""Adapters in training and in checkpoints."""
