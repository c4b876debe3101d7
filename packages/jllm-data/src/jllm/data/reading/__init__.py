"""A data set to batch(step): order, lanes, mixtures, row groups, and the readers."""
