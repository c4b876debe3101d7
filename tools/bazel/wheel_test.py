"""Install one wheel into an empty virtual environment and import all its modules.

    wheel_test.py FOLDER [FOLDER of a wheel of this tree that it needs]...

The environment sees the wheels and only those third-party distributions that their metadata
requires. So an undeclared dependency fails here, also one on another package of this tree. A module
may fail to import for lack of an extra's dependencies.
"""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

IMPORT_ALL = """
import importlib, re, sys
from importlib.metadata import distribution
dist = distribution(sys.argv[1])
asked = [line for line in dist.requires or () if "extra ==" in line]
extras = {re.match("[\\w-]+", line)[0].replace("-", "_") for line in asked}
names = [str(file) for file in dist.files if file.suffix == ".py"]
assert names and all(name.startswith("jllm/") for name in names), names
assert "jllm/__init__.py" not in names
for name in names:
    if not name.endswith("__main__.py"):
        module = name.removesuffix(".py").removesuffix("/__init__")
        try:
            importlib.import_module(module.replace("/", "."))
        except ModuleNotFoundError as error:
            if error.name.split(".")[0] not in extras:
                raise
for script in dist.entry_points.select(group="console_scripts"):
    assert callable(script.load()), script
"""


def canonical(name: str) -> str:
    """Return the name in the form in which registries compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(dist: Distribution, ours: dict[str, Distribution], seen: dict[str, Path | None]) -> None:
    """Add to `seen` the folders of the dependencies of `dist`; None for a wheel of this tree."""
    for line in dist.requires or ():
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonical(requirement.name)
        if name in seen:
            continue
        assert name in ours or not name.startswith("jllm-"), f"{line}: no such wheel here"
        found = ours.get(name) or distribution(name)
        assert requirement.specifier.contains(found.version, prereleases=True), (
            line,
            found.version,
        )
        seen[name] = None if name in ours else Path(str(found.locate_file(""))).resolve()
        needed(found, ours, seen)


def main(folders: list[str]) -> None:
    """Install, import, and fail with what is missing."""
    wheels = [next(Path(folder).glob("*.whl")) for folder in folders]
    env = Path(os.environ["TEST_TMPDIR"], "env")
    venv.create(env, with_pip=False, symlinks=True)
    python = str(env / "bin/python")
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    outside = str(Path(sys.base_prefix, "bin/python3"))  # the one that has pip
    pip = [outside, "-m", "pip", "--python", python, "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", *wheels], check=True, env=clean)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(env), "platbase": str(env)}))
    ours = {canonical(d.metadata["Name"]): d for d in Distribution.discover(path=[str(site)])}
    name = canonical(wheels[0].name.split("-")[0])
    seen: dict[str, Path | None] = {}
    needed(ours[name], ours, seen)
    unasked = ours.keys() - seen.keys() - {name}
    assert not unasked, f"the metadata of {name} does not name {sorted(unasked)}"
    (site / "locked.pth").write_text("\n".join(str(path) for path in seen.values() if path))
    subprocess.run([python, "-I", "-c", IMPORT_ALL, name], check=True, env=clean)
    sys.stdout.write(f"{wheels[0].name} imports with {', '.join(sorted(seen))}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
