"""Errors for dialogues and templates that cannot be rendered."""

from __future__ import annotations


class ChatRefused(Exception):
    """The template does not accept this dialogue; `reason` is its name in the record counts."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class DateWanted(ValueError):
    """The template writes today's date, and no date was given."""
