"""Model mathematics, the families, and the table that names every weight."""

__version__ = "0.1.0"
