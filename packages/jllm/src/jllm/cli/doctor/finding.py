"""One thing that the doctor looked at."""

from dataclasses import dataclass
from typing import Literal

State = Literal["found", "missing", "broken"]
"""missing: not there, and nothing that is there needs it; broken: it does not work."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one thing."""

    group: str
    """machine, packages, libraries, accelerators, …: the heading that it stands under."""
    name: str
    state: State
    detail: str
    """Version, size or reason, in a few words."""
    mend: str = ""
    """What to do where it is missing or broken."""
