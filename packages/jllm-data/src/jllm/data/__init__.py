"""Raw text and chats to packed token ids, and the deterministic reader of them."""

__version__ = "0.1.0"
