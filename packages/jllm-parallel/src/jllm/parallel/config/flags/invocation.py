"""How the command is called."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """Where the flags come from, and whether anything is done."""

    config: str = ""
    """A YAML file of these same keys; flags given here win."""
    dry_run: bool = False
    """Check everything that can be checked, print the plan and stop."""
    world_size: int = 0
    """With --dry_run: plan for so many processes. 0: for those that are started."""
