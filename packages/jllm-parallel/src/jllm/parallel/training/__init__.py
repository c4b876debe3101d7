"""A training run: command, set-up, steps, metrics, saving."""
