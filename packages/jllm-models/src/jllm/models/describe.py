"""What a model is made of: `python -m jllm.models.describe MODEL_DIR [--length TOKENS] [--json]`.

Prints units with their parameters, bytes and the operations of a training step per token, and the
whole model's. Reads `config.json` alone: no weight is opened, PyTorch is not imported.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_layer, unit_names
from jllm.models.costs.flops import active_parameter_count, parameter_count, unit_costs
from jllm.models.costs.latent_attention import cache_numbers
from jllm.models.families import read_config
from jllm.models.lora.settings import Lora
from jllm.models.lora.table import trained_parameters
from jllm.models.lora.targets import ALL, resolve

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of a unit or of the whole model."""

    parameters: int
    """Number of trained parameters."""
    active_parameters: int
    """Parameters used for a token: all but those of experts to which it is not routed."""
    bytes: int
    """Bytes of the parameters in the directory's dtype."""
    flops_per_token: float
    """FLOPs of forward and backward per token, with the causal half of attention."""
    flops_per_token_square: float
    """The same with the whole square of attention."""
    cache_bytes: int
    """Bytes of the generation cache per visible token, in the directory's dtype."""


def unit_figures(config: DecoderConfig, length: int) -> dict[str, Figures]:
    """Return the figures of every unit by name, for documents of `length` tokens.

    The head of a tied model counts the embedding's parameters again, since it holds them and
    multiplies with them.
    """
    width = DTYPE_BYTES[config.dtype]
    both = (unit_costs(config, length, length, causal=causal) for causal in (True, False))
    return {
        half.name: Figures(
            parameters=half.parameters,
            active_parameters=half.active_parameters,
            bytes=half.parameters * width,
            flops_per_token=3 * half.forward_flops,
            flops_per_token_square=3 * whole.forward_flops,
            cache_bytes=cache_numbers(config) * width * half.name.endswith(".attention"),
        )
        for half, whole in zip(*both, strict=True)
    }


def total_figures(config: DecoderConfig, length: int) -> Figures:
    """Return the figures of the model; a tied matrix is counted once."""
    units = unit_figures(config, length).values()
    parameters = parameter_count(config)
    return Figures(
        parameters=parameters,
        active_parameters=active_parameter_count(config),
        bytes=parameters * DTYPE_BYTES[config.dtype],
        flops_per_token=sum(unit.flops_per_token for unit in units),
        flops_per_token_square=sum(unit.flops_per_token_square for unit in units),
        cache_bytes=sum(unit.cache_bytes for unit in units),
    )


def alike(config: DecoderConfig, units: dict[str, Figures]) -> Iterator[tuple[str, int, Figures]]:
    """Yield (name, count, figures of one) of the units; consecutive equal layers are one line."""
    names = unit_names(config)
    layers = [
        (unit_layer(index), units[names[index]], units[names[index + 1]])
        for index in range(1, len(names) - 1, 2)
    ]
    yield names[0], 1, units[names[0]]
    for (attention, mlp), run in groupby(layers, lambda layer: layer[1:]):
        numbers = [number for number, _, _ in run]
        first, last = numbers[0], numbers[-1]
        shown = f"layers.{first}" if first == last else f"layers.{first}…{last}"
        yield f"{shown}.attention", len(numbers), attention
        yield f"{shown}.mlp", len(numbers), mlp
    yield names[-1], 1, units[names[-1]]


def table(config: DecoderConfig, length: int, parameters: int) -> Table:
    """Return the table that is printed.

    parameters: number of the model's, with its modules of multi-token prediction.
    """
    units, total = unit_figures(config, length), total_figures(config, length)
    shown = Table(
        title=f"{config.architecture}, {config.dtype}, documents of {length:,} tokens",
        caption="FLOPs: of forward and backward per token, attention causal or the whole square\n"
        f"cache of generation: {_binary(total.cache_bytes)} a token",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    if more := parameters - total.parameters:
        shown.caption = f"{shown.caption}\nnot counted: {more:,} of multi-token prediction"
    shown.add_column("unit", no_wrap=True)
    active = ("active",) if config.experts else ()
    for heading in ("×", "parameters", *active, "bytes", "FLOPs\ncausal", "FLOPs\nsquare"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for name, count, figures in alike(config, units):
        shown.add_row(name, str(count), *_cells(config, figures))
    shown.add_section()
    shown.add_row("model", "", *_cells(config, total))
    return shown


def _cells(config: DecoderConfig, figures: Figures) -> Iterator[str]:
    """Yield the numbers of a line; active parameters only where they are not all."""
    yield f"{figures.parameters:,}"
    if config.experts:
        yield _short(figures.active_parameters, ("", "k", "M", "G", "T"), 1000)
    yield _binary(figures.bytes)
    for flops in (figures.flops_per_token, figures.flops_per_token_square):
        yield _short(flops, ("", "k", "M", "G", "T"), 1000)


def _binary(number: int) -> str:
    """Format a number of bytes with a binary unit that leaves few digits before the point."""
    return _short(number, ("B", "KiB", "MiB", "GiB", "TiB"), 1024)


def _short(number: float, units: Sequence[str], step: int) -> str:
    """Format a number with a unit that leaves few digits before the point."""
    for unit in units[:-1]:
        if number < step:
            return f"{number:.4g} {unit}".rstrip()
        number /= step
    return f"{number:.4g} {units[-1]}"


@dataclass(frozen=True, kw_only=True)
class AdapterFigures:
    """The figures of an adapter of the model (LoRA)."""

    rank: int
    matrices: int
    parameters: int
    """Number of the adapter's parameters: the trained ones where the model is frozen."""
    fraction: float
    """Fraction of the parameters of model and adapter together."""

    def __str__(self) -> str:
        """Format them as one line."""
        return (
            f"adapter of rank {self.rank}: {self.parameters:,} parameters in {self.matrices:,} "
            f"matrices, {self.fraction:.3%} of all"
        )


def adapter_figures(config: DecoderConfig, rank: int, modules: str) -> AdapterFigures | None:
    """Return the figures of an adapter of the named modules; None for rank 0."""
    if rank < 0:
        raise ValueError(f"--lora_dim must be 0 or more, found {rank}")
    if not rank:
        return None
    lora = Lora(rank=rank, alpha=1.0, tensors=resolve(config, modules.split(",")))
    adapter, model = trained_parameters(config, lora), parameter_count(config)
    return AdapterFigures(
        rank=rank,
        matrices=len(lora.tensors),
        parameters=adapter,
        fraction=adapter / (adapter + model),
    )


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.models.describe"
) -> int:
    """Run the command and return the exit code: 2 for a mistake that the user can correct."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("model_dir", type=Path, help="a directory with config.json")
    parser.add_argument(
        "--length", type=int, help="tokens of a document; the longest the model was made for"
    )
    parser.add_argument("--json", action="store_true", help="print every unit as JSON")
    parser.add_argument(
        "--lora_dim",
        type=int,
        default=0,
        help="count the parameters of an adapter of this rank too",
    )
    parser.add_argument(
        "--lora_module_name", default=ALL, help="modules that it is of, as in jllm.train_pipe"
    )
    options = parser.parse_args(arguments)
    try:
        whole = read_config(options.model_dir)
        config = replace(whole, prediction=None)
        length = config.max_position_embeddings if options.length is None else options.length
        if length < 1:
            raise ValueError(f"--length must be at least 1, found {length}")
        adapter = adapter_figures(config, options.lora_dim, options.lora_module_name)
    except (ValueError, OSError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", markup=False)
        return 2
    if options.json:
        units = unit_figures(config, length)
        values = {
            "architecture": config.architecture,
            "dtype": config.dtype,
            "document_length": length,
            "prediction_parameters": parameter_count(whole) - parameter_count(config),
            "units": {name: asdict(figures) for name, figures in units.items()},
            "model": asdict(total_figures(config, length)),
        } | ({"adapter": asdict(adapter)} if adapter else {})
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
    else:
        Console().print(table(config, length, parameter_count(whole)))
        if adapter:
            Console().print(str(adapter))
    return 0


if __name__ == "__main__":
    sys.exit(main())
