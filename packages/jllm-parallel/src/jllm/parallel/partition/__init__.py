"""Dividing the units of a model among pipeline stages, and showing the result as a table."""
