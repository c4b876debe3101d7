"""Dialogue formats: one module for each family, each a pure mapping to messages."""
