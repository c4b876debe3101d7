"""Reading and writing slices of safetensors files."""
