"""Running the plan of one pipeline rank: the stages, the transport between them, the executor."""
