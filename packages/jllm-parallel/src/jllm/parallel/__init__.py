"""Pipeline- and data-parallel training whose result does not depend on the layout."""

__version__ = "0.1.0"
