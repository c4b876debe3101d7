"""Answering one prompt into a stream: tokenizer, weights, tokens, text and their speed."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_count
from jllm.models.decoder.load import load_stage
from jllm.models.decoder.stage import Stage
from jllm.models.generation.answer import answer, stop_tokens
from jllm.models.generation.decoder import Decoder
from jllm.models.generation.options import Sampling
from jllm.models.generation.text_stream import stream_text
from jllm.models.generation.tokenizer import load_tokenizer


@dataclass(frozen=True, kw_only=True)
class Written:
    """The cost of an answer, and how it ended."""

    prompt_tokens: int
    """Number of tokens of the prompt, chat template included."""
    tokens: int
    """Number of tokens of the answer, the end-of-sequence token included."""
    first_seconds: float
    """Seconds until the first token: the pass over the prompt."""
    other_seconds: float
    """Seconds for all tokens after the first."""
    stopped: bool
    """Whether it ended at an end-of-sequence token."""

    def summary(self) -> str:
        """Return the summary for the user, one line."""
        others = self.tokens - 1
        speed = f", then {others / self.other_seconds:.1f} tokens/s" if others else ""
        end = "end of sequence" if self.stopped else "--max_new_tokens"
        return (
            f"{self.tokens} tokens, ended by {end}; prompt of {self.prompt_tokens} tokens in "
            f"{self.first_seconds:.2f} s{speed}"
        )


def write(
    model_dir: Path,
    config: DecoderConfig,
    prompt: str,
    sampling: Sampling,
    *,
    max_new_tokens: int,
    chat: bool | None,
    dtype: str,
    device: str,
    stream: TextIO,
) -> Written:
    """Write the answer to a prompt into a stream, piece by piece, and end the line.

    chat: apply the chat template; None applies it where there is one. dtype, device: names of
    torch.

    Raises ValueError and OSError where the tokenizer or the weights cannot be read.
    """
    tokenizer = load_tokenizer(model_dir)
    chat = tokenizer.has_chat_template if chat is None else chat
    ids = tokenizer.prompt_ids(prompt, chat=chat)
    if max(ids) >= config.vocab_size:
        raise ValueError(
            f"{model_dir}: the tokenizer gives id {max(ids)}, the model knows "
            f"{config.vocab_size}; they belong to different models"
        )
    stop = stop_tokens(model_dir)
    if tokenizer.end is not None:
        stop |= {tokenizer.end}
    decoder = Decoder(_load(model_dir, config, dtype, device))
    clock = _Clock()
    tokens = answer(decoder, ids, sampling, max_new_tokens=max_new_tokens, stop=stop)
    for piece in stream_text(clock.timed(tokens), tokenizer.text, ids):
        stream.write(piece)
        stream.flush()
    stream.write("\n")
    stream.flush()
    return Written(
        prompt_tokens=len(ids),
        tokens=clock.tokens,
        first_seconds=clock.first - clock.start,
        other_seconds=clock.last - clock.first,
        stopped=clock.token in stop,
    )


class _Clock:
    """The times at which tokens arrived."""

    def __init__(self) -> None:
        self.start = self.first = self.last = time.perf_counter()
        self.tokens = 0
        self.token = -1

    def timed(self, tokens: Iterable[int]) -> Iterator[int]:
        """Yield the tokens, noting the time of each."""
        for self.token in tokens:
            self.last = time.perf_counter()
            self.first = self.last if self.tokens == 0 else self.first
            self.tokens += 1
            yield self.token


def _load(model_dir: Path, config: DecoderConfig, dtype: str, device: str) -> Stage:
    """Load the whole model onto a device."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"--device {device}: PyTorch cannot use it here: {first}") from error
    units = range(unit_count(config))
    stage = Stage(config, units, dtype=getattr(torch, dtype), device=device)
    load_stage(stage, config, model_dir)
    return stage
