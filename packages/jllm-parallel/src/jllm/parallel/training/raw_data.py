"""Raw files given as --train_data and --eval_data: converted before any process group exists.

Every process of a host comes here and takes the lock of the folder that the rows belong in. The
first one converts, or finds by digest that it was done before; the others wait for the lock, which
the system takes from a process that dies, and then find the work done. Nothing here is collective.
"""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import signal
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from jllm.parallel.config.config import TrainConfig
from jllm.parallel.distributed.launch import Launch

LOCK, RECORD = ".jllm-raw.lock", ".jllm-raw.json"
"""Files of a converted folder; the second says what it was made of."""
SECONDS, SHOWN_EVERY = 0.2, 10.0
"""Between two looks at the lock, and between two lines that say so."""


def with_converted_data(
    config: TrainConfig, launch: Launch, console: Console | None = None
) -> TrainConfig:
    """Return the configuration with folders of token ids in place of raw files.

    What happens is said to `console`; to standard error if None.

    Raises:
        ValueError: a file cannot be converted, or no folder beside it can be written.
        OSError: a file cannot be read, or the disk is full.
    """
    from jllm.data.convert.raw_file import is_raw
    from jllm.data.reading.mixture import parse_mixture

    changes, found = {}, False
    for flag in ("train_data", "eval_data"):
        text = getattr(config, flag)
        named = parse_mixture(text) if text else []
        try:
            raw = [is_raw(path) for path, _ in named]
        except ValueError as error:
            raise ValueError(f"--{flag} {error}") from error
        if any(raw):
            found = True
            convert = functools.partial(
                _converted, flag=f"--{flag}", config=config, launch=launch, console=console
            )
            folders = [
                (str(convert(Path(path))) if one else path, weight)
                for (path, weight), one in zip(named, raw, strict=True)
            ]
            changes[flag] = _mixture(folders)
    for flag in ("max_len", "cache_dir"):
        if not found and getattr(config, flag) != getattr(TrainConfig, flag):
            raise ValueError(
                f"--{flag} is for raw data, and --train_data and --eval_data are token ids; drop it"
            )
    return dataclasses.replace(config, **changes)


def converted_folder(path: Path, config: TrainConfig) -> Path:
    """Return where the rows of a raw file belong: beside it, or below --cache_dir."""
    place = path.absolute()
    name = f"{place.name}_{Path(config.model).absolute().name}_{config.max_len}"
    if not config.cache_dir:
        return place.parent / name
    # Files of one name in several folders have one each.
    where = hashlib.blake2b(str(place.parent.resolve()).encode(), digest_size=4).hexdigest()
    return Path(config.cache_dir) / f"{name}-{where}"


def _converted(
    path: Path, flag: str, config: TrainConfig, launch: Launch, console: Console | None
) -> Path:
    """Return the folder with the rows of a raw file, made where it is not there."""
    from jllm.data.convert import raw_file

    folder, began = converted_folder(path, config), time.time()
    console = console or Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    try:
        with _locked(folder, path, console if launch.local_rank == 0 else None) as writable:
            record = _read_record(folder)
            if record and record["stamps"] == _stamps(path) and record["checked"] >= began:
                return folder  # by another process, since this one asked
            stamps, now = _stamps(path), time.time()
            digest = raw_file.conversion_digest(path, config.model, config.max_len)
            same = record is not None and record["digest"] == digest
            if not writable and not same:
                raise ValueError(
                    f"{path}: {folder} cannot be written; name a folder for converted data with "
                    "--cache_dir"
                )
            if not same:
                (folder / RECORD).unlink(missing_ok=True)
                _convert(path, folder, config, console)
            if writable:
                _write_record(folder, {"digest": digest, "stamps": stamps, "checked": now})
    except ValueError as error:
        raise ValueError(
            f"{flag} {error} (for other settings of the conversion, convert with "
            "python -m jllm.raw2ids and name its folder)"
        ) from error
    return folder


def _convert(path: Path, folder: Path, config: TrainConfig, console: Console) -> None:
    """Convert; a signal ends it with KeyboardInterrupt, and the next start goes on."""
    from jllm.data.convert import raw_file
    from jllm.data.runtime.progress import WorkProgress
    from jllm.data.runtime.signals import StopSignals

    main = threading.current_thread() is threading.main_thread()  # which alone may set handlers
    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    before = {number: signal.getsignal(number) for number in numbers}
    console.print(f"converting {path} to {folder}", markup=False)
    try:
        check = StopSignals().check if main else lambda: None
        with WorkProgress(console, check) as progress:
            raw_file.convert_raw(path, config.model, folder, config.max_len, progress)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _locked(folder: Path, path: Path, console: Console | None) -> Iterator[bool]:
    """Hold the folder's lock; yield whether the folder can be written (and was locked)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a")
    except OSError:  # made by somebody else, on a file system that is only read
        yield False
        return
    with lock:
        _wait_for(lock, folder, path, console)
        yield True


def _wait_for(lock: TextIO, folder: Path, path: Path, console: Console | None) -> None:
    """Take the lock, and say now and then how far the process is that has it."""
    began = time.monotonic()
    shown = began
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            now = time.monotonic()
            if console and now - shown >= SHOWN_EVERY:
                shown, size = now, 0
                for file in folder.glob(".jllm-writing/*"):
                    with contextlib.suppress(OSError):
                        size += file.stat().st_size
                console.print(
                    f"waiting for another process that converts {path}: {now - began:.0f} s, "
                    f"{size / 1e6:,.0f} MB written"
                )
            time.sleep(SECONDS)


def _stamps(path: Path) -> list[list[Any]]:
    """Return sizes and times of the files, which show whether one changed since its digest."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [
        [file.name, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
        for file in files
        for found in (file.stat(),)
    ]


def _read_record(folder: Path) -> dict[str, Any] | None:
    """Return what the folder's rows were made of; None where they are not there, or not whole."""
    from jllm.data.format.info import read_info

    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        infos = [read_info(file) for file in folder.glob("*_info.json")]
    except (OSError, ValueError):
        return None
    known = isinstance(record, dict) and record.keys() == {"digest", "stamps", "checked"}
    whole = infos and all(
        Path(str(path)).is_file() and Path(str(path)).stat().st_size == file.bytes
        for info in infos
        for path, file in info.listed.items()
    )
    return record if known and whole else None


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    new = folder / f"{RECORD}.new"
    new.write_text(json.dumps(record), encoding="utf-8")
    new.replace(folder / RECORD)


def _mixture(folders: list[tuple[str, Fraction]]) -> str:
    """Return the text that names folders with their weights."""
    if len(folders) == 1:
        return folders[0][0]
    if comma := next((folder for folder, _ in folders if "," in folder), None):
        raise ValueError(f"{comma}: a mixture's folders have no commas; name one with --cache_dir")
    return ",".join(f"{folder}:{weight}" for folder, weight in folders)
