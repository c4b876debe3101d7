"""Rows to parquet files that appear whole or not at all."""
