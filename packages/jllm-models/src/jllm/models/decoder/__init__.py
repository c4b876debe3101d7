"""A contiguous run of a decoder's units: put together, filled with weights, and its loss."""
