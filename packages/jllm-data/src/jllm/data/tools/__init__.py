"""Tools for whole finished data sets: shuffle, repartition, verify, inspect."""
