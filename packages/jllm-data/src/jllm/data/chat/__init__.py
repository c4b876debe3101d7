"""Dialogues to ids and a loss mask: the chat template rendered, proven and cut into answers."""
