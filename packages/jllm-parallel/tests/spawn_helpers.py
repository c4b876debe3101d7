"""Starts gloo ranks for tests.

They are forked from a server process that has imported what all need and done nothing else: most of
the time of a tiny run would be imports.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

mp.get_context("forkserver").set_forkserver_preload(
    ["jllm.parallel.training.job", "torch.utils.tensorboard", "torch._dynamo"]
)


def start_ranks(function: Callable[..., None], arguments: tuple[Any, ...], count: int) -> None:
    """Runs `function(rank, *arguments)` in `count` processes; any failure is raised."""
    mp.start_processes(function, arguments, nprocs=count, start_method="forkserver")


def _worker(
    rank: int, world: int, store: str, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    try:
        function(rank, *arguments)
    finally:
        if world > 1:
            dist.destroy_process_group()


def spawn(world: int, folder: Path, function: Callable[..., None], *arguments: Any) -> None:
    """Runs `function(rank, *arguments)` in `world` processes of one gloo job; any failure is
    raised."""
    store = folder / f"store-{function.__name__}-{world}-{len(list(folder.iterdir()))}"
    start_ranks(_worker, (world, str(store), function, arguments), world)


def _launched(
    rank: int, world: int, port: int, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    size = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= size | place | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    function(*arguments)


def launch(world: int, function: Callable[..., None], *arguments: Any) -> None:
    """Runs `function(*arguments)` in `world` processes with the environment that torchrun gives."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    start_ranks(_launched, (world, port, function, arguments), world)
