"""Generating the tokens of an answer, up to a stop token."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from jllm.models.families import read_json
from jllm.models.generation.decoder import Decoder
from jllm.models.generation.options import Sampling
from jllm.models.generation.sampling import choose


def answer(
    decoder: Decoder,
    prompt: Sequence[int],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    stop: frozenset[int] = frozenset(),
) -> Iterator[int]:
    """Yield tokens as they are generated, up to and including the first that is in `stop`."""
    logits_V = decoder.start(prompt)
    for number in range(max_new_tokens):
        token = choose(logits_V, sampling, number)
        yield token
        if token in stop or number + 1 == max_new_tokens:
            return
        logits_V = decoder.append(token)


def stop_tokens(model_dir: Path) -> frozenset[int]:
    """Return the end-of-sequence ids of `generation_config.json`, or else of `config.json`."""
    for name in ("generation_config.json", "config.json"):
        path = Path(model_dir) / name
        given = read_json(path).get("eos_token_id") if path.exists() else None
        if given is None:
            continue
        ids = given if isinstance(given, list) else [given]
        if any(isinstance(number, bool) or not isinstance(number, int) for number in ids):
            raise ValueError(
                f"{path}: eos_token_id must be a whole number or a list of them, found {given!r}"
            )
        return frozenset(ids)
    return frozenset()
