"""The conversion as a Spark job, which makes the same rows as the local conversion."""
