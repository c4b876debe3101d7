"""Documents to rows of at most max_len ids, in pure numpy."""
