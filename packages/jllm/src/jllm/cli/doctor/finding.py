"""One finding of the doctor."""

from dataclasses import dataclass
from typing import Literal

State = Literal["found", "missing", "broken"]
"""missing: not installed, but nothing installed needs it; broken: it does not work."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result for one item."""

    group: str
    """The heading that it is listed under: machine, packages, libraries, accelerators, …."""
    name: str
    state: State
    detail: str
    """Version, size or reason, in a few words."""
    mend: str = ""
    """What to do if it is missing or broken."""
