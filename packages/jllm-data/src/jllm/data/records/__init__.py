"""Input files to records: files found, decompressed, cut into splits and parsed."""
