"""Run pytest as a Bazel test: JUnit XML, sharding, --test_filter.

Test modules are imported by their bare names (unique in the whole tree), so that processes spawned
by a test can import them too.
"""

import os
import sys
from pathlib import Path

import pytest


class Shard:
    """Selection of every TEST_TOTAL_SHARDS-th test, announced to Bazel."""

    def __init__(self) -> None:
        self.index = int(os.environ.get("TEST_SHARD_INDEX", "0"))
        self.total = int(os.environ.get("TEST_TOTAL_SHARDS", "1"))
        self.collected = 0
        if status := os.environ.get("TEST_SHARD_STATUS_FILE"):
            Path(status).touch()

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Deselect the tests of the other shards."""
        self.collected = len(items)
        kept = items[self.index :: self.total]
        config.hook.pytest_deselected(items=[i for i in items if i not in kept])
        items[:] = kept


def main(files: list[str]) -> int:
    """Run the files and return pytest's exit code."""
    shard = Shard()
    args = ["-p", "no:cacheprovider", "-ra", *files]
    if xml := os.environ.get("XML_OUTPUT_FILE"):
        args.append(f"--junitxml={xml}")
    if name := os.environ.get("TESTBRIDGE_TEST_ONLY"):
        args.append(f"-k={name}")
    if tmp := os.environ.get("TEST_TMPDIR"):
        args.append(f"--basetemp={tmp}/pytest")
        os.environ.setdefault("HOME", tmp)
    code = pytest.main(args, plugins=[shard])
    # A shard may have no tests; a target must have some.
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and shard.total > 1 and shard.collected:
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
