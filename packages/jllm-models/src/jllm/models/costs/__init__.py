"""Parameters, FLOPs and bytes of a model's units, from its configuration alone."""
