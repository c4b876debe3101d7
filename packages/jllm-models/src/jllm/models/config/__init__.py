"""The configuration of a model: its sizes and variants, the names of its tensors, its units."""
