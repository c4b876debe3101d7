"""Imports a module and prints its version: `python -P probe.py MODULE DISTRIBUTION`.

Run by its path in a process of its own, so that a library which crashes takes nothing with it.
"""

import sys
from importlib import import_module, metadata


def main(module: str, distribution: str) -> None:
    """Import, and print the version on a line of its own, the last."""
    imported = import_module(module)
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:  # on the path, though nobody installed it
        version = getattr(imported, "__version__", "unknown version")
    sys.stdout.write(f"\n{version}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
