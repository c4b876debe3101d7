"""Reading bytes from local files and URLs."""
