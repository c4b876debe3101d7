"""Import a module and print its version: `python -P probe.py MODULE DISTRIBUTION`.

Run by its path in a separate process, so that a library which crashes does not take others down.
"""

import sys
from importlib import import_module, metadata


def main(module: str, distribution: str) -> None:
    """Import the module, and print its version as the last line."""
    imported = import_module(module)
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:  # importable, but not installed as a distribution
        version = getattr(imported, "__version__", "unknown version")
    sys.stdout.write(f"\n{version}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
