"""verify_data: what a data set says of itself, compared with its bytes."""
