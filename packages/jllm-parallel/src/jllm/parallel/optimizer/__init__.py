"""AdamW over shards of the gradients (ZeRO-1), and its learning rate."""
