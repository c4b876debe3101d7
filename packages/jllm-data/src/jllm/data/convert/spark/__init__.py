"""The conversion as a Spark job, with the rows of the local one."""
