"""The weight table, and reading and writing slices of safetensors files with it."""
