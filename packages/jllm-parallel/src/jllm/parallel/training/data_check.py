"""Data that this model cannot be trained on, found before the first step instead of in the middle.

Checked by one process of the job. What the info files tell costs nothing; labels are looked through
where there are any (about 2 s of one core for 100 million ids), document bounds where rows are
longer than the model's positions.
"""

from rich.console import Console

from jllm.data.format.schema import LABELS
from jllm.data.reading.dataset import Dataset
from jllm.data.reading.mixture import DataMixture
from jllm.data.reading.untrained import first_untrained_step, longest_document, untrained_rows
from jllm.data.runtime.progress import WorkProgress
from jllm.models.config.decoder_config import DecoderConfig
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.training.inputs import Inputs


def check_data(config: TrainConfig, inputs: Inputs, console: Console | None = None) -> None:
    """Look through the data sets for what would end the run later.

    Shows how far it is on `console`, or on standard error if None.

    Raises:
        ValueError: documents longer than the model's positions, ids beyond its vocabulary, or a
            step without a trained token.
        OSError: a file cannot be read.
    """
    with WorkProgress(console or Console(stderr=True, highlight=False)) as progress:
        for name, data in inputs.datasets.items():
            for part in data.parts:
                _check_vocabulary(f"--{name}_data {part.path}", part.document_end_id, inputs.model)
                _check_positions(f"--{name}_data {part.path}", part, inputs.model, progress)
        train = inputs.datasets.get("train")
        if train and not config.skip_untrained_batches:
            _check_trained(config, inputs, train, progress)


def most_positions(model: DecoderConfig) -> int | None:
    """Return the positions that a document may have; None where the model sets no limit.

    ALiBi has no limit, and neither has a rotation that stretches with the document (`dynamic`),
    unless it does so in evaluation alone.
    """
    rope = model.rope
    if rope is None or (rope.type == "dynamic" and not rope.outside_training):
        return None
    return model.max_position_embeddings


def _check_vocabulary(where: str, largest: int | None, model: DecoderConfig) -> None:
    if largest is not None and largest >= model.vocab_size:
        raise ValueError(
            f"{where}: has the token {largest}, the model a vocabulary of {model.vocab_size}: "
            "convert the data with this model's tokenizer"
        )


def _check_positions(
    where: str, part: Dataset, model: DecoderConfig, progress: WorkProgress
) -> None:
    most = most_positions(model)
    if most is None or part.max_len - 1 <= most:
        return
    progress.begin("measuring documents", part.num_rows, "rows")
    longest = longest_document(part, progress.advance)
    progress.end()
    if longest > most:
        raise ValueError(
            f"{where}: its longest document has {longest:,} positions, the model of --model knows "
            f"{most:,} (max_position_embeddings): convert the data with --max_len {most + 1}; or, "
            "to teach the model longer documents, raise max_position_embeddings in its config.json"
        )


def _check_trained(
    config: TrainConfig, inputs: Inputs, train: DataMixture, progress: WorkProgress
) -> None:
    """Look for steps without a trained token, where there are labels.

    Remote data are not looked through: they would be read twice.
    """
    if any(LABELS not in part.fields or part.is_remote for part in train.parts):
        return
    progress.begin("checking labels", train.num_rows, "rows")
    untrained = []
    for part in train.parts:
        rows, largest = untrained_rows(part, progress.advance)
        _check_vocabulary(f"--train_data {part.path}", largest, inputs.model)
        untrained.append(rows)
    progress.end()
    step = first_untrained_step(
        train,
        untrained,
        seed=config.seed,
        global_batch_size=config.global_batch_size,
        steps=range(inputs.first_step, inputs.total_steps),
        shuffle=not config.no_shuf,
    )
    if step is not None:
        count = sum(int(rows.sum()) for part in untrained for rows in part)
        raise ValueError(
            f"--train_data: none of the {config.global_batch_size} rows of step {step + 1} has a "
            f"trained token ({count:,} of all {train.num_rows:,} rows have none): convert the data "
            "with --filter, take a larger --global_batch_size, or give --skip_untrained_batches"
        )
