"""`jllm doctor`: show what is installed, missing or broken."""

import argparse
import sys
from collections.abc import Iterator

from jllm.cli.doctor.finding import Finding

ABOUT = """Tell what jllm finds on this machine: versions, devices, back ends, memory and disks;
what is missing, and how to install it. Libraries are imported, each in a process of its own.

The exit code is 1 where something that is installed does not work, and else 0, also where
something is missing that nothing here needs."""


def main(*, prog: str = "jllm doctor") -> int:
    """Check everything, print the findings and return the exit code."""
    parser = argparse.ArgumentParser(
        prog=prog, description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args()
    from rich.console import Console

    from jllm.cli.doctor.page import as_json, print_page

    with Console(stderr=True).status("importing what is installed …"):
        findings = list(look())
    if options.json:
        sys.stdout.write(as_json(findings) + "\n")
    else:
        print_page(findings, Console(highlight=False))
    return 1 if any(finding.state == "broken" for finding in findings) else 0


def look() -> Iterator[Finding]:
    """Yield all findings, in the order of the page."""
    from jllm.cli.doctor.accelerators import look_at_accelerators
    from jllm.cli.doctor.java import look_at_java
    from jllm.cli.doctor.libraries import look_at_libraries
    from jllm.cli.doctor.machine import look_at_machine

    libraries = list(look_at_libraries())
    states = {finding.name: finding.state for finding in libraries}
    yield from look_at_machine()
    yield from (finding for finding in libraries if finding.group != "optional")
    if states.get("torch") == "found":
        yield from look_at_accelerators()
    yield from (finding for finding in libraries if finding.group == "optional")
    if states["pyspark"] == "found":
        yield from look_at_java()
