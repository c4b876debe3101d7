"""Generation on the modules that train: enough to try a checkpoint, one prompt at a time."""
