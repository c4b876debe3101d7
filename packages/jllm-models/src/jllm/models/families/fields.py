"""Reading configuration values, with errors that name the file, the key and the remedy."""

from typing import Any


class Fields:
    """The values of one `config.json`."""

    def __init__(self, values: dict[str, Any], source: str):
        self.values = values
        self.source = source

    def error(self, message: str) -> ValueError:
        """Return an error to raise, which names the file."""
        return ValueError(f"{self.source}: {message}")

    def size(self, key: str, default: int | None = None, most: int | None = None) -> int:
        """Return a positive integer of at most `most`; without a default the key is required."""
        value = self.values.get(key)
        value = default if value is None else value
        if value is None:
            raise self.error(f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(f"{key} must be a positive whole number, found {value!r}")
        if most and value > most:
            raise self.error(f"{key} must be at most {most:,}, found {value:,}")
        return value

    def vocabulary(self) -> int:
        """Return the size of the vocabulary, whose ids have to fit 32 bits."""
        return self.size("vocab_size", most=2**31)

    def count(self, key: str, default: int) -> int:
        """Return a non-negative integer."""
        value = self.values.get(key)
        if value is None:
            return default
        return 0 if value == 0 and type(value) is int else self.size(key)

    def number(self, key: str, default: float) -> float:
        """Return a non-negative number."""
        return self.checked_number(key, self.values.get(key), default)

    def checked_number(self, key: str, value: Any, default: float | None = None) -> float:
        """Return a value, or its default, as a non-negative number."""
        value = default if value is None else value
        if value is None:
            raise self.error(f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e30:
            raise self.error(f"{key} must be a number that is not negative, found {value!r}")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """Return true or false."""
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise self.error(f"{key} must be true or false, found {value!r}")
        return value

    def require(self, key: str, expected: Any, default: Any) -> None:
        """Refuse an option that is not implemented: the key must be absent or as expected."""
        value = self.values.get(key)
        value = default if value is None else value
        if value != expected:
            raise self.error(f"{key} = {value!r} is not supported; only {expected!r} is")
