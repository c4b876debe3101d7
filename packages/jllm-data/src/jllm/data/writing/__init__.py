"""Rows to parquet files, which appear whole or not at all."""
