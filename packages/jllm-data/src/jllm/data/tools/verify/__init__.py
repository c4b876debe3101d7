"""verify_data: check a data set's bytes against its info files, footers and digests."""
