"""Which units of the model each pipeline stage holds: decided, and shown as a table."""
