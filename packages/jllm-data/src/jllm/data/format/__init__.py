"""The format of a data set on disk: columns, names, digests, info files. No I/O policy here."""
