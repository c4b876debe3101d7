"""The conversion as a Spark job; `job.py` alone imports pyspark, which the extra `spark` brings."""
