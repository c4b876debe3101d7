"""The token contract of a run: data, model directory and checkpoint have one tokenizer.

Checked by one process of the job, before the model is built: about 10 ms a data set where the files
are the same, 3 to 6 s where Transformers has to load them.
"""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from jllm.data.tools.verify.bundled_tokenizer import has_tokenizer
from jllm.data.tools.verify.tokenizer_match import check_contract, stating
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.training.inputs import Inputs


def check_tokenizers(config: TrainConfig, inputs: Inputs, console: Console | None = None) -> None:
    """Compare the tokenizer of every data set with the model's and the checkpoint's.

    Prints what could not be checked, and of a contradiction the first difference in tokens, to
    `console`, or to standard error if None.

    Raises:
        ValueError: a data set was made with another tokenizer.
        OSError: a file cannot be read.
    """
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    for name, data in inputs.datasets.items():
        for flag, folder in _folders(config, inputs):
            verdict = check_contract(
                stating(data.parts), folder, data_name=f"--{name}_data", model_name=flag
            )
            if verdict.note:
                console.print(f"note: {verdict.note}", markup=False)
            if verdict.problem and config.allow_other_tokenizer:
                what = f"note: --allow_other_tokenizer: {verdict.problem}"
                console.print(what, markup=False)
            elif verdict.problem:
                for line in verdict.comparison:
                    console.print(line, markup=False)
                raise ValueError(
                    f"{verdict.problem}: convert the data with --tokenizer {folder}, or give "
                    "--allow_other_tokenizer if these ids are what the model is to learn"
                )
    if inputs.resume_problems:
        raise ValueError("\n".join(inputs.resume_problems))


def _folders(config: TrainConfig, inputs: Inputs) -> Iterator[tuple[str, Path]]:
    """(flag, directory) of the tokenizers that must be the data's, the checkpoint's first."""
    flag = "--resume_ckpt" if config.resume_ckpt else "--from_ckpt"
    for folder in inputs.checkpoints:
        if has_tokenizer(folder):
            yield flag, folder
    yield "--model", inputs.model_dir
