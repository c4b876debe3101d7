"""What a data set on disk says: columns, names, digests, info files. No I/O policy here."""
