"""A contiguous run of a decoder's units: its construction, its weights, its loss."""
