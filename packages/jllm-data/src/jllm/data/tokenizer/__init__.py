"""Text to ids: the tokenizer loaded, cached, kept with its data, and made fast."""
