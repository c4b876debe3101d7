"""Runs the plan of one pipeline rank: stages, the transport between them, and the executor."""
