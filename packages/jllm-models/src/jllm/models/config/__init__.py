"""A model as a value: sizes and variants, the names of its tensors, its units."""
