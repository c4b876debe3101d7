"""Count the test cases of one `bazel test` run: N passed, N failed[, N skipped].

    count_cases.py EVENTS BAZEL_EXIT_CODE

EVENTS is the output of --build_event_json_file, which names the JUnit file of every test of exactly
this run, cached ones included. A target that failed without naming a case counts as one failed
case, and so does a run that Bazel calls failed although every case passed. The exit code is 0 only
if nothing failed and something passed.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlparse
from xml.etree import ElementTree


def count_file(path: Path) -> Counter[str]:
    """Count the cases of a JUnit file by outcome; empty if the file is missing or incomplete."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return Counter()
    outcomes = Counter[str]()
    for case in root.iter("testcase"):
        kinds = {child.tag for child in case}
        failed = kinds & {"failure", "error"}
        outcomes["failed" if failed else "skipped" if "skipped" in kinds else "passed"] += 1
    return outcomes


def count_result(result: dict) -> Counter[str]:
    """Count the cases of one testResult event, which is one shard of one target."""
    passed = result.get("status") in ("PASSED", "FLAKY")
    outcomes = Counter[str]()
    for output in result.get("testActionOutput", ()):
        if output["name"] == "test.xml":
            outcomes = count_file(Path(unquote(urlparse(output["uri"]).path)))
    if passed and not outcomes:
        return Counter(passed=1)
    if not passed and not outcomes["failed"]:
        outcomes["failed"] += 1
    return outcomes


def count_run(lines: list[str], exit_code: int) -> tuple[Counter[str], list[str]]:
    """Count the cases of all events of a run; also return notes on targets without a case."""
    results: dict[str, dict[tuple, dict]] = {}
    targets, built = set(), set()
    for line in lines:
        event = json.loads(line)
        for kind, identity in event["id"].items():
            label = identity.get("label", "")
            if kind == "targetConfigured" and "testSize" in event.get("configured", {}):
                targets.add(label)
            elif kind == "targetCompleted" and event.get("completed", {}).get("success"):
                built.add(label)
            elif kind == "testResult":  # the last attempt of a shard counts
                shard = identity.get("run"), identity.get("shard")
                results.setdefault(label, {})[shard] = event["testResult"]
    outcomes, notes = Counter[str](), []
    for label in sorted(results):
        for result in results[label].values():
            outcomes += count_result(result)
    for label in sorted(targets - results.keys()):
        if label in built:
            notes.append(f"not asked for (its tags): {label}")
        else:
            outcomes["failed"] += 1
            notes.append(f"FAILED to build or to start: {label}")
    if exit_code and not outcomes["failed"]:
        outcomes["failed"] += 1
        notes.append(f"FAILED: bazel's exit code is {exit_code}")
    return outcomes, notes


def main(events: str, exit_code: str) -> int:
    """Print the notes and the final line."""
    path = Path(events)
    lines = path.read_text().splitlines() if path.exists() else []
    outcomes, notes = count_run(lines, int(exit_code))
    closing = f"{outcomes['passed']} passed, {outcomes['failed']} failed"
    if outcomes["skipped"]:
        closing += f", {outcomes['skipped']} skipped"
    sys.stdout.write("\n".join([*notes, closing]) + "\n")
    return 1 if outcomes["failed"] or not outcomes["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
