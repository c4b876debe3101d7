"""Lock files: every pin has its hashes, versions agree, and no index is named."""

import os
import re
from pathlib import Path

import pytest

FOLDER = Path(os.path.abspath(__file__)).parents[2] / "third_party/python"
NAMES = sorted(path.stem for path in FOLDER.glob("*.in") if path.stem != "runtime")


def read(name: str) -> dict[str, str]:
    """Pins of a lock file: {distribution: version}; fails on any other kind of line."""
    pins = {}
    text = (FOLDER / f"{name}_lock.txt").read_text().replace("\\\n", "")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        pin, *hashes = line.split()
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", h) for h in hashes), line
        distribution, version = pin.split("==")
        pins[distribution] = version
    return pins


def asked(name: str) -> set[str]:
    """Exact pins that NAME.in and the files it includes ask for."""
    pins = set()
    for line in (FOLDER / f"{name}.in").read_text().splitlines():
        if line.startswith("-r "):
            pins |= asked(line.removeprefix("-r ").removesuffix(".in"))
        elif "==" in line:
            pins.add(line)
    return pins


@pytest.mark.parametrize("name", NAMES)
def test_the_lock_holds_what_was_asked_for(name):
    locked = {f"{distribution}=={version}" for distribution, version in read(name).items()}
    assert asked(name) <= locked


@pytest.mark.parametrize("name", sorted({*NAMES} - {"cpu", "vllm", "quickstart_model"}))
def test_versions_are_those_of_the_cpu_lock(name):
    ours, theirs = read(name), read("cpu")
    shared = ours.keys() & theirs.keys() - {"torch"}
    assert {d: ours[d] for d in shared} == {d: theirs[d] for d in shared}


def test_tests_run_with_everything_that_users_install():
    assert read("cpu").items() <= read("dev").items()


def test_torch_is_the_same_release_on_every_device():
    assert read("cpu")["torch"] == read("cuda")["torch"] + "+cpu"
