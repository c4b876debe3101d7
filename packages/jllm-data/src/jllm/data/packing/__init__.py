"""Documents to rows of max_len ids, in pure numpy."""
