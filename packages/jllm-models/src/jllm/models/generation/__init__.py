"""Generation with the modules of training, one prompt at a time: enough to try a checkpoint."""
