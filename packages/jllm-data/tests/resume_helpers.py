"""Conversions in small steps that are killed, at a step or at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from convert_helpers import Notes, write_jsonl
from jllm.data.convert import resume
from jllm.data.convert.config import Raw2IdsConfig
from jllm.data.convert.convert import convert
from jllm.data.packing import packer
from jllm.data.records import splits
from jllm.data.tokenizer.cache import cached_tokenizer
from jllm.data.writing.row_writer import RowWriter

SMALL_STEPS = (
    (splits, "SPLIT_BYTES", 2000),
    (packer, "WINDOW_IDS", 1),
    (packer, "WINDOW_ROWS", 25),
    (resume, "SHARE", 1e9),
)
"""Many units, windows of 25 rows, and the state is saved whenever it can be."""

CASES: dict[str, dict[str, Any]] = {
    "chats": {"max_len": 120, "batch_size": 15},
    "stacked": {"type": "pretrain", "stack": True, "max_len": 33, "batch_size": 70},
    "partitions": {"type": "pretrain", "max_len": 65, "num_lines_per_partition": 60, "pad": True},
}


def write_input(folder: Path, case: str) -> Path:
    """Two files; for chats one of them with records that are too long."""
    folder.mkdir()
    rng = random.Random(1)
    for name in ("a", "b"):
        texts = [" ".join(rng.choices(["for", "message", "12", "x"], k=rng.randint(1, 40)))
                 for _ in range(200)]  # fmt: skip
        chats = [[{"user": text[:20]}, {"assistant": text}] for text in texts]
        texts = [{"text": text, "url": ""} for text in texts]  # a key that is counted
        write_jsonl(folder / f"{name}.jsonl", chats if case == "chats" else texts)
    return folder


def convert_it(
    tokenizer: Path, source: Path, output: Path, reporter: Notes | None = None, **settings: Any
) -> Notes:
    """Convert in this process; SMALL_STEPS must hold."""
    reporter = reporter or Notes()
    settings = {"cores": 1, "fast": "off", **settings}
    names = {"tokenizer": str(tokenizer), "input": str(source), "output": str(output)}
    convert(Raw2IdsConfig(**names, **settings), reporter)
    return reporter


def counting(method: Callable[..., Any], steps: list[int], kill_at: int | None) -> Any:
    """The method, which counts a step, or kills this process at the step `kill_at`."""

    def step(*arguments: Any, **options: Any) -> Any:
        if len(steps) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        steps.append(1)
        return method(*arguments, **options)

    return step


def convert_in_fork(
    job: dict[str, Any], *, kill_at: int | None = None, counted: Path | None = None,
    seconds: float = 0,
) -> int:  # fmt: skip
    """The process id of a fork that converts, and kills itself before its step `kill_at`.

    The steps: every writing of rows, closing, syncing, renaming and removing of files. Their number
    is written to `counted`. After `seconds` of its own processor time, if any, the kernel ends it:
    what else the machine does then moves no kill.
    """
    child = os.fork()
    if child:
        return child
    signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends a process, as SIGKILL does
    steps: list[int] = []
    for owner, names in (
        (Path, ("rename", "replace", "unlink")),
        (os, ("fsync",)),
        (RowWriter, ("_write", "_close_file")),
        (pq.ParquetWriter, ("close",)),
    ):
        for name in names:
            setattr(owner, name, counting(getattr(owner, name), steps, kill_at))
    convert_it(*map(Path, job["paths"]), **job["settings"])
    if counted is not None:
        counted.write_text(str(len(steps)))
    os._exit(0)


def kill_at_steps(job: dict[str, Any], rng: random.Random) -> list[int]:
    """Kill conversions before some of their steps, each in a folder of the step's name."""
    *given, folder = job["paths"]
    steps = int(Path(folder, "count").read_text())
    last = steps - len(list(Path(folder, "whole").rglob("*.*"))) - 3  # publishing begins here
    places = sorted({*rng.sample(range(last), 5), *rng.sample(range(last, steps), 3)})
    for place in places:
        child = convert_in_fork({**job, "paths": [*given, f"{folder}/{place}"]}, kill_at=place)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
    return places


def kill_at_moments(job: dict[str, Any], rng: random.Random, seconds: float) -> list[int]:
    """Kill conversions to the folder "often" until one is quicker; how they ended.

    `seconds`: of processor time, what a conversion takes that is not killed.
    """
    *given, folder = job["paths"]
    ends: list[int] = []
    while len(ends) < 12 and 0 not in ends:
        often = {**job, "paths": [*given, f"{folder}/often"]}
        child = convert_in_fork(often, seconds=rng.uniform(0.05, 0.5) * seconds)
        ends.append(os.waitpid(child, 0)[1])
    return ends


def serve(jobs: dict[str, dict[str, Any]]) -> None:
    """Do what `killed` asks, in a process that has done nothing else."""
    for module, name, value in SMALL_STEPS:
        setattr(module, name, value)
    assert cached_tokenizer(jobs["often"]["paths"][0]).hf  # what the forks find loaded and cached
    results, rng = {}, random.Random(0)
    for name, job in jobs.items():
        *given, folder = job["paths"]
        whole = {**job, "paths": [*given, f"{folder}/whole"]}
        _, status, used = os.wait4(convert_in_fork(whole, counted=Path(folder) / "count"), 0)
        assert status == 0
        seconds = used.ru_utime + used.ru_stime
        often = name == "often"
        results[name] = kill_at_moments(job, rng, seconds) if often else kill_at_steps(job, rng)
    sys.stdout.write(json.dumps(results))


def killed(tokenizer: Path, folder: Path) -> dict[str, list[int]]:
    """Conversions of every case, killed: to the folder <case>/<step> each before that step.

    Returns the steps of each case; some of them are while files are published. <case>/whole is not
    killed. "often": those that write to often/often are killed one after another at any moment;
    returns how they ended.
    """
    jobs = {}
    for name in (*CASES, "often"):
        (folder / name).mkdir()
        case = "chats" if name == "often" else name
        paths = [tokenizer, write_input(folder / name / "in", case), folder / name]
        jobs[name] = {"paths": list(map(str, paths)), "settings": CASES[case]}
    command = "import json, sys, resume_helpers; resume_helpers.serve(json.loads(sys.argv[1]))"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", command, json.dumps(jobs)],
        env=environment, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    return json.loads(done.stdout)
