"""The one error of checkpoints."""


class CheckpointError(ValueError):
    """A checkpoint cannot be written, found or trusted; says which one, why and the mend."""
