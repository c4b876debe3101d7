"""What works on whole finished data sets: shuffle, repartition, verify, inspect."""
