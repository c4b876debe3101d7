"""Makes the lock files: for each NAME.in beside this file a NAME_lock.txt with every hash.

    python3 third_party/python/lock.py                    # all, keeping the versions locked now
    python3 third_party/python/lock.py --upgrade          # all, to the newest versions allowed
    python3 third_party/python/lock.py cpu dev            # some

Reads only metadata (a few MB, seconds), downloads no wheel. Where torch's CPU wheels come from is
not in the tree: set PIP_EXTRA_INDEX_URL to the PyTorch CPU index, or PIP_FIND_LINKS to a folder
that holds the wheel. A lock with the hashes of both the CPU and the CUDA wheel would not do: pip
prefers whichever file its index advertises a hash for.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
UV = "uv==0.13.9"
TORCH_CPU = {"cpu", "dev"}
"""Locks that hold torch's CPU wheel; only they see the extra index or folder."""
NO_DEPS = {"pyspark", "quickstart_model"}
ORDER = (
    *("cpu", "cuda", "build", "dev", "deepspeed", "ray", "spark", "vllm"),
    *("pyspark", "quickstart_model"),
)
"""cpu first: the others take over its versions where they agree."""
HEADER = "# Made by third_party/python/lock.py from {name}.in; do not edit.\n"


def install_uv(folder: Path) -> Path:
    """Install a uv of the pinned version in a new environment under `folder`."""
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--no-input", UV]
    subprocess.run(pip, check=True)
    return folder / "bin/uv"


def environment(name: str) -> dict[str, str]:
    """Return the caller's, with pip's words for indexes said in uv's."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("UV_")}
    if index := os.environ.get("PIP_INDEX_URL"):
        env["UV_DEFAULT_INDEX"] = index
    if name in TORCH_CPU:
        if links := os.environ.get("PIP_FIND_LINKS"):
            env["UV_FIND_LINKS"] = ",".join(links.split())
        if index := os.environ.get("PIP_EXTRA_INDEX_URL"):
            env["UV_INDEX"] = index
            env["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return env


def constraints(name: str) -> str:
    """Return the CPU lock's versions but torch's, so that every lock has the same ones."""
    if name in ("cpu", "vllm"):  # vLLM pins what it needs itself
        return ""
    lines = (HERE / "cpu_lock.txt").read_text().splitlines()
    pins = [line.split()[0] for line in lines if line[:1].isalnum() and "==" in line]
    return "\n".join(pin for pin in pins if not pin.startswith("torch==")) + "\n"


def compile_lock(uv: Path, name: str, upgrade: bool) -> None:
    """Write NAME_lock.txt; leaves the old one where resolving fails."""
    target = HERE / f"{name}_lock.txt"
    command = [str(uv), "pip", "compile", "--quiet", "--generate-hashes", "--no-header"]
    command += ["--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    command += ["--python-version=3.11", "--python-platform=x86_64-manylinux_2_28"]
    command += ["--no-deps"] * (name in NO_DEPS) + ["--upgrade"] * upgrade
    with tempfile.TemporaryDirectory() as work:
        shared, out = Path(work, "shared.txt"), Path(work, target.name)
        shared.write_text(constraints(name))
        if target.exists():
            out.write_text(target.read_text())  # uv keeps the versions it finds there
        command += [f"--constraint={shared}", f"--output-file={out}", f"{name}.in"]
        subprocess.run(command, cwd=HERE, env=environment(name), check=True)
        lock = out.read_text()
    target.write_text(HEADER.format(name=name) + lock.removeprefix(HEADER.format(name=name)))


def main() -> int:
    """Make the locks named on the command line."""
    parser = argparse.ArgumentParser(description="Make the lock files.")
    parser.add_argument("names", nargs="*", choices=[[], *ORDER], help="default: all")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    flags = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as work:
        uv = install_uv(Path(work))
        for name in [name for name in ORDER if name in (flags.names or ORDER)]:
            sys.stderr.write(f"locking {name}\n")
            try:
                compile_lock(uv, name, flags.upgrade)
            except subprocess.CalledProcessError:
                failed.append(name)
    if failed:
        sys.stderr.write(f"error: not resolved, their locks are unchanged: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
