"""raw2ids: convert input files to a finished data set, in local processes or as a Spark job."""
