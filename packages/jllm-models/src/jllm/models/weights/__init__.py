"""The weight table, and slices of safetensors files read and written by it."""
