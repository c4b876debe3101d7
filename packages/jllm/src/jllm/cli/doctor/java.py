"""The Java installation that Spark needs in addition to its Python package."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from jllm.cli.doctor.finding import Finding, State

LEAST = 17
MEND = f"install Java {LEAST} or newer, or let JAVA_HOME name it"


def look_at_java() -> Iterator[Finding]:
    """Yield which Java Spark would start: that of JAVA_HOME, else the first on the path."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else "java"
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        yield _told("missing", f"{program} is not there; pyspark needs it", MEND)
        return
    except (OSError, subprocess.TimeoutExpired) as error:
        yield _told("broken", f"{program}: {error}", MEND)
        return
    found = re.search(r'version "(\d+)[^"]*"', done.stderr + done.stdout)
    if found is None:
        yield _told("broken", f"{program} -version tells no version", MEND)
    elif int(found[1]) < LEAST:
        yield _told("broken", f"{found[0]}, too old for pyspark", MEND)
    else:
        yield _told("found", found[0].partition('"')[2].rstrip('"') + " (for pyspark)", "")


def _told(state: State, detail: str, mend: str) -> Finding:
    return Finding(group="optional", name="java", state=state, detail=detail, mend=mend)
