"""raw2ids: input files to a finished data set, in local processes or as a Spark job."""
