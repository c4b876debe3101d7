"""Compare executed with simulated and theoretical step times, with stages that only sleep.

    python tools/bench/pipeline.py --stages 4 --micro-batches 16 --steps 5 --output gantt.svg

Spawns one gloo process a stage. Measures the executor: its calls, its waiting and its messages, of
--boundary-mib each. Needs almost no processor time, so there may be more stages than cores. Prints
a table and one JSON line a schedule; --output draws the fastest step of the last one.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from jllm.parallel.pipeline.boundary import Boundary, TensorSpec
from jllm.parallel.pipeline.executor import run_step
from jllm.parallel.pipeline.transport import Transport
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.draw import draw
from jllm.parallel.schedule.generators import GENERATORS
from jllm.parallel.schedule.simulate import simulate, stage_durations
from jllm.parallel.schedule.timeline import Span, Timeline


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the benchmark."""

    schedules: tuple[str, ...] = ("1f1b", "gpipe")
    """Names of the schedules."""
    stages: int = 4
    """Pipeline stages, one process each."""
    micro_batches: int = 8
    """Micro-batches in a step."""
    forward: float = 0.05
    """Seconds of one forward."""
    backward: float = 0.1
    """Seconds of one backward."""
    boundary_mib: float = 1.0
    """MiB of fp32 that cross a boundary for one micro-batch."""
    steps: int = 5
    """Steps for each schedule; the first is not counted."""
    output: Path | None = None
    """Where to draw the fastest step of the last schedule, as SVG."""

    @property
    def boundary(self) -> Boundary:
        """The boundary: one fp32 tensor."""
        return (TensorSpec(shape=(int(self.boundary_mib * 2**18),), dtype=torch.float32),)


class Sleeper:
    """A stage that only sleeps."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._tensors = (torch.zeros(options.boundary[0].shape),)

    def forward(self, _micro_batch: int, _inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Sleep and return zeros."""
        time.sleep(self._options.forward)
        return self._tensors

    def backward(
        self, _micro_batch: int, _output_gradients: tuple[Tensor | None, ...]
    ) -> tuple[Tensor | None, ...]:
        """Sleep and return zeros."""
        time.sleep(self._options.backward)
        return self._tensors


def main(options: Options) -> None:
    """Measure, print and draw."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_rank, (options, Path(folder)), nprocs=options.stages)
        ranks = [
            json.loads((Path(folder) / f"{rank}.json").read_text())
            for rank in range(options.stages)
        ]
    console = Console()
    table = Table("schedule", "theory s", "simulated s", "executed s", "executed ÷ simulated")
    for name in options.schedules:
        plan = check(GENERATORS[name](options.stages, options.micro_batches))
        theory = (options.micro_batches + options.stages - 1) * (options.forward + options.backward)
        durations = stage_durations(
            (options.forward,) * options.stages, (options.backward,) * options.stages
        )
        simulated = simulate(plan, durations).step_time
        best = min(_timelines(name, options, ranks), key=lambda timeline: timeline.step_time)
        figures = {"theory": theory, "simulated": simulated, "executed": best.step_time}
        ratio = best.step_time / simulated
        table.add_row(name, *(f"{seconds:.4f}" for seconds in figures.values()), f"{ratio:.4f}")
        console.print_json(json.dumps({"schedule": name, **figures}), indent=None)
        if options.output is not None:
            options.output.write_text(draw(best), encoding="utf-8")
    console.print(table)


def _rank(rank: int, options: Options, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=options.stages,
        timeout=timedelta(minutes=2),
    )
    group = dist.group.WORLD
    assert group is not None
    boundaries = [options.boundary] * (options.stages - 1)
    transport = Transport(group, boundaries, torch.device("cpu"))
    times: dict[str, list[list[tuple[float, float]]]] = {}
    for name in options.schedules:
        plan = check(GENERATORS[name](options.stages, options.micro_batches)).ranks[rank]
        times[name] = []
        for _ in range(options.steps):
            dist.barrier(group)
            spans = run_step(plan, [Sleeper(options)], transport, clock=time.monotonic).spans
            times[name].append([(span.start, span.end) for span in spans])
    (folder / f"{rank}.json").write_text(json.dumps(times))
    dist.destroy_process_group()


def _timelines(
    name: str, options: Options, ranks: Sequence[dict[str, list[list[tuple[float, float]]]]]
) -> list[Timeline]:
    actions = GENERATORS[name](options.stages, options.micro_batches).ranks
    return [
        Timeline(
            name=f"{name}, executed",
            ranks=tuple(
                tuple(
                    Span(action=action, start=start, end=end)
                    for action, (start, end) in zip(actions[r], times[name][step], strict=True)
                )
                for r, times in enumerate(ranks)
            ),
        )
        for step in range(1, options.steps)
    ]


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
