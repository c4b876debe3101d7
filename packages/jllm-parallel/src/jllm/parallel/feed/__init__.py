"""Rows of the data set to the ranks that need them, a step ahead."""
