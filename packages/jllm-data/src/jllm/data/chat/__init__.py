"""Dialogues to ids and a loss mask: chat templates are rendered, checked and cut into answers."""
