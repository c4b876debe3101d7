"""What a run is going to do, shown before it starts: how the model is cut, how long it takes."""

from collections.abc import Iterator

from rich.console import Console

from jllm.data.reading.mixture import DataMixture
from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.costs.flops import parameter_count, unit_costs
from jllm.models.lora.settings import Lora
from jllm.models.lora.table import trained_parameters
from jllm.models.lora.targets import module_names
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.config.layout import Layout
from jllm.parallel.distributed.device import dtype_of, kind_of
from jllm.parallel.experts.load_balance import balance_note
from jllm.parallel.partition.costs import Memory, UnitCost
from jllm.parallel.partition.method import partition
from jllm.parallel.partition.table import print_partition, stage_rows
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import GENERATORS
from jllm.parallel.schedule.plan import Plan
from jllm.parallel.training.folders import METRICS, log_folder
from jllm.parallel.training.inputs import Inputs


def costs(config: TrainConfig, inputs: Inputs) -> tuple[UnitCost, ...]:
    """Return each unit's costs for one micro-batch; documents are taken to fill their rows."""
    shape = next(iter(inputs.shapes.values()), None)
    tokens, length = (shape.tokens, shape.length) if shape else (1, 1)
    width = dtype_of(inputs.dtype, kind_of(config.device)).itemsize
    recompute_interval = config.checkpoint_grad_interval
    return tuple(
        UnitCost(
            name=cost.name,
            parameters=cost.parameters,
            flops=cost.forward_flops * tokens,
            activation_bytes=tokens
            * (
                cost.recomputed_bytes
                if recompute_interval and unit % recompute_interval == 0
                else cost.activation_bytes
            ),
        )
        for unit, cost in enumerate(unit_costs(inputs.model, tokens, length, value_bytes=width))
    )


def plan_of(config: TrainConfig, sizes: Layout) -> Plan:
    """Return the checked schedule of a training step."""
    return check(GENERATORS[config.schedule](sizes.stages, sizes.micro_batches))


def memory_of(config: TrainConfig, inputs: Inputs) -> Memory:
    """Say what a process holds for each parameter, and how many micro-batches' activations."""
    replicas = inputs.layout.replicas
    narrow = dtype_of(inputs.dtype, kind_of(config.device)).itemsize == 2
    weight_and_gradient = 2 + 4 if narrow else 4 + 4
    moments_and_master = 12 if narrow or replicas > 1 else 8
    live = plan_of(config, inputs.layout).schedule.live_bound
    if inputs.lora and config.only_optimize_lora:
        weight_and_gradient, moments_and_master = 2 if narrow else 4, 0
    per_parameter = weight_and_gradient + moments_and_master / replicas
    return Memory(bytes_per_parameter=per_parameter, live=live)


def boundaries(config: TrainConfig, inputs: Inputs) -> tuple[int, ...]:
    """Cut the model's units into stages.

    Raises:
        ValueError: --partition_method or --pipe_parallel_size does not fit the model.
    """
    unit_costs = costs(config, inputs)
    stages, memory = inputs.layout.stages, memory_of(config, inputs)
    return partition(config.partition_method, unit_costs, stages, memory=memory)


def print_overview(
    config: TrainConfig, inputs: Inputs, cuts: tuple[int, ...], console: Console | None = None
) -> None:
    """Print the layout, the partition and the length of the run; to standard error if None."""
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    console.soft_wrap = not console.is_terminal  # on a terminal lines end between words
    sizes = inputs.layout
    console.print(
        f"model      {config.model}: {parameter_count(inputs.model):,} parameters, "
        f"{inputs.model.num_layers} layers"
    )
    for name, data in inputs.datasets.items():
        console.print(f"{name:10} {data.num_rows:,} rows of {data.max_len:,} ids")
        if len(data.parts) > 1:
            for line in shares(data, config.global_batch_size, inputs.total_steps):
                console.print(f"{'':10} {line}")
    console.print(
        f"layout     {_count(sizes.stages, 'pipeline stage')} × "
        f"{_count(sizes.replicas, 'replica')}, "
        f"{_count(sizes.micro_batches, 'micro-batch', 'es')} of "
        f"{_count(config.micro_batch_size, 'row')} a step"
    )
    if inputs.lora:
        console.print(f"adapter    {adapter_line(inputs.model, inputs.lora, config)}")
    left = inputs.total_steps - inputs.first_step
    if left and (note := balance_note(config, inputs.model)):
        console.print(f"note       {note}", markup=False)
    console.print(f"steps      {left:,} of {inputs.total_steps:,}")
    console.print(f"saves      {saves_line(config)}", markup=False)
    console.print(f"metrics    {log_folder(config) / METRICS}", markup=False)
    if sizes.stages > 1:
        unit_costs = costs(config, inputs)
        plan, memory = plan_of(config, sizes), memory_of(config, inputs)
        rows = stage_rows(cuts, unit_costs, plan, memory)
        print_partition(console, config.partition_method, cuts, rows)


def saves_line(config: TrainConfig) -> str:
    """Say what is saved, where and when."""
    said = []
    if config.checkpoint and config.num_train_epochs:
        often = config.steps_per_checkpoint
        when = f"every {_count(often, 'step')} and at" if often != -1 else "at"
        said.append(f"checkpoints in {config.checkpoint} {when} the end")
    if config.output_dir:
        said.append(f"the final model in {config.output_dir}")
    return ", ".join(said) or "nothing"


def shares(data: DataMixture, global_batch_size: int, steps: int) -> Iterator[str]:
    """Say of each data set of a mixture what its share is and how often it is gone through."""
    epochs = data.epochs(global_batch_size, steps)
    for part, weight, times in zip(data.parts, data.weights, epochs, strict=True):
        share = weight / sum(data.weights)
        yield f"{share:.2%} of {part.path}: {part.num_rows:,} rows, {times:.2f} times in the run"


def adapter_line(model: DecoderConfig, lora: Lora, config: TrainConfig) -> str:
    """Say what the adapter is of and what is trained."""
    adapter, whole = trained_parameters(model, lora), parameter_count(model)
    trained = adapter if config.only_optimize_lora else adapter + whole
    names = module_names(sorted(lora.tensors))
    rslora = "√" if lora.rslora else ""
    return (
        f"rank {lora.rank}, scale {lora.alpha:g} / {rslora}{lora.rank}, of "
        f"{len(lora.tensors)} matrices ({', '.join(names)}); "
        f"trained {trained:,} of {adapter + whole:,} parameters ({trained / (adapter + whole):.2%})"
    )


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"
