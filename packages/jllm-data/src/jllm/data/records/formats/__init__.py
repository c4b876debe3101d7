"""The forms in which dialogues are given: a file a family, each a pure mapping to messages."""
