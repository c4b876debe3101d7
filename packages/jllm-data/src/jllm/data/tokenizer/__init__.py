"""Text to ids: loading a tokenizer, caching it, keeping it with its data, and fast encoding."""
