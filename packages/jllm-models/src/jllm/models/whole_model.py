"""`jllm.models.load`: a whole model as one value, with loss, logits and text generation.

Letters: T tokens, V vocabulary.
"""

import copy
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor, nn

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_count
from jllm.models.decoder.load import load_stage
from jllm.models.decoder.loss import IGNORED
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config
from jllm.models.families.common import DTYPES
from jllm.models.generation.answer import answer, stop_tokens
from jllm.models.generation.decoder import Decoder
from jllm.models.generation.options import Sampling
from jllm.models.generation.tokenizer import PromptTokenizer, load_tokenizer
from jllm.models.layers.documents import Documents
from jllm.models.weights.extra import refuse_extra
from jllm.models.weights.verify import verify_read

Bounds = Documents | Sequence[int] | Tensor


class Model:
    """A decoder with all its units.

    `module` is the PyTorch module, whose parameters go to an optimizer. It is in evaluation mode,
    as a model of Transformers is after loading. Generation does not change it.
    """

    def __init__(self, module: Stage, model_dir: Path):
        assert module.has_embedding and module.has_head, module.unit_range
        self.module = module
        self.model_dir = model_dir

    @property
    def config(self) -> DecoderConfig:
        """The configuration from `config.json`."""
        return self.module.config

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return next(self.module.parameters()).dtype

    @cached_property
    def tokenizer(self) -> PromptTokenizer:
        """The directory's tokenizer; its `hf` is that of Transformers.

        Raises ValueError where there is none, or Transformers is not installed.
        """
        return load_tokenizer(self.model_dir)

    def loss(self, tokens: Any, targets: Any, documents: Bounds | None = None) -> Tensor:
        """Return the sum of the losses of the trained tokens, an fp32 scalar with a gradient.

        tokens, targets: integers [T] (tensors, arrays or lists); a target of −100 is not trained.
        documents: their bounds, 0 … T; None for one document.

        Raises ValueError that names the wrong argument.
        """
        tokens_T = self._ids("tokens", tokens)
        targets_T = self._ids("targets", targets, untrained=True)
        if targets_T.shape != tokens_T.shape:
            found = f"targets: {len(targets_T)}, expected as many as tokens"
            raise ValueError(f"{found}, {len(tokens_T)}")
        return self.module(tokens_T, self._documents(documents, len(tokens_T)), targets_T)

    def logits(self, tokens: Any, documents: Bounds | None = None) -> Tensor:
        """Return the logits [T, V] of the token after each; arguments as in `loss`."""
        tokens_T = self._ids("tokens", tokens)
        return self.module.logits(tokens_T, self._documents(documents, len(tokens_T)))

    @overload
    def generate(
        self,
        prompt: str,
        *,
        max_new_tokens: int = ...,
        temperature: float = ...,
        top_k: int | None = ...,
        top_p: float = ...,
        seed: int = ...,
        chat: bool | None = ...,
    ) -> str: ...
    @overload
    def generate(
        self,
        prompt: Sequence[int] | Tensor,
        *,
        max_new_tokens: int = ...,
        temperature: float = ...,
        top_k: int | None = ...,
        top_p: float = ...,
        seed: int = ...,
        chat: bool | None = ...,
    ) -> list[int]: ...
    def generate(
        self,
        prompt: str | Sequence[int] | Tensor,
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        seed: int = 0,
        chat: bool | None = None,
    ) -> str | list[int]:
        """Return the model's continuation of a prompt: text after a text, ids after ids.

        It ends at an end-of-sequence token or after `max_new_tokens`. temperature: 0 takes the
        likeliest token; above 0, one is drawn with `top_k`, `top_p` and `seed`. chat: apply the
        chat template to a text as a user's message; None applies it where there is one.

        Raises ValueError that names the wrong argument.
        """
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        try:
            sampling.check()
        except ValueError as error:
            raise ValueError(str(error).replace("--", "")) from None
        if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, int):
            raise ValueError(f"max_new_tokens is {max_new_tokens!r}, expected a whole number")
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, found {max_new_tokens}")
        stop = stop_tokens(self.model_dir)
        text = isinstance(prompt, str)
        if text and self.tokenizer.end is not None:
            stop |= {self.tokenizer.end}
        ids = self._prompt_ids(prompt, chat) if text else self._ids("prompt", prompt).tolist()
        made = answer(self._decoder(), ids, sampling, max_new_tokens=max_new_tokens, stop=stop)
        return self.tokenizer.text([*made]) if text else [*made]

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.module.parameters())
        if self.config.tie_word_embeddings:
            parameters -= self.config.vocab_size * self.config.hidden_size
        return (
            f"{self.config.architecture} of {self.config.num_layers} layers, {parameters:,} "
            f"parameters, {str(self.dtype).removeprefix('torch.')} on {self.device}, from "
            f"{self.model_dir}"
        )

    def _prompt_ids(self, prompt: str, chat: bool | None) -> list[int]:
        tokenizer = self.tokenizer
        if chat and not tokenizer.has_chat_template:
            raise ValueError(f"chat: the tokenizer of {self.model_dir} has no chat template")
        if not prompt:
            raise ValueError("prompt holds no token; give a text to go on from")
        chat = tokenizer.has_chat_template if chat is None else chat
        ids = tokenizer.prompt_ids(prompt, chat=chat)
        if max(ids) >= self.config.vocab_size:
            raise ValueError(
                f"{self.model_dir}: the tokenizer gives id {max(ids)}, the model knows "
                f"{self.config.vocab_size}; they belong to different models"
            )
        return ids

    def _decoder(self) -> Decoder:
        """Return a decoder with its own modules over the same parameters."""
        shared: dict[int, Any] = {
            id(parameter): nn.Parameter(parameter.detach(), requires_grad=False)
            for parameter in self.module.parameters()
        }
        shared |= {id(buffer): buffer for buffer in self.module.buffers()}
        return Decoder(copy.deepcopy(self.module, shared))

    def _ids(self, name: str, values: Any, *, untrained: bool = False) -> Tensor:
        """Return ids [T] on the model's device; untrained: −100 may be among them.

        Raises ValueError where they are not ids of the model.
        """
        try:
            ids_T = torch.as_tensor(values)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{name}: expected whole numbers [T]: {error}") from None
        whole = not (ids_T.is_floating_point() or ids_T.is_complex() or ids_T.dtype == torch.bool)
        if ids_T.dim() != 1 or not len(ids_T) or not whole:
            found = f"{str(ids_T.dtype).removeprefix('torch.')} {list(ids_T.shape)}"
            raise ValueError(f"{name}: expected whole numbers [T], at least one, found {found}")
        outside_T = (ids_T < 0) | (ids_T >= self.config.vocab_size)
        if untrained:
            outside_T &= ids_T != IGNORED
        if bool(outside_T.any()):
            wrong = int(ids_T[outside_T][0])
            raise ValueError(
                f"{name}: {wrong} is no id of the model, expected 0 to "
                f"{self.config.vocab_size - 1}{' or -100' if untrained else ''}"
            )
        return ids_T.to(self.device, torch.int64)

    def _documents(self, given: Bounds | None, tokens: int) -> Documents:
        if isinstance(given, Documents):
            return given
        bounds = [0, tokens] if given is None else [int(bound) for bound in given]
        if bounds and bounds[-1] != tokens:
            raise ValueError(f"documents: end at {bounds[-1]}, expected {tokens}, as tokens do")
        try:
            return Documents.from_bounds(bounds, self.device)
        except ValueError as error:
            raise ValueError(f"documents: {error}") from None


def load(
    model_dir: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
) -> Model:
    """Load a Hugging Face model directory as one whole model.

    dtype: of the parameters and the computation, "float32" or "bfloat16"; None is that of the
    directory. Modules of multi-token prediction are left out.

    Raises ValueError that names a wrong argument, or a file that is missing, damaged or from
    another model.
    """
    folder = Path(model_dir)
    config = read_config(folder)
    refuse_extra(config, folder)
    verify_read(folder)
    config = replace(config, prediction=None)
    name = config.dtype if dtype is None else str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ValueError(f"dtype is {name}, expected one of {', '.join(DTYPES)}")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"device {device}: PyTorch cannot use it here: {first}") from error
    units = range(unit_count(config))
    stage = Stage(config, units, dtype=getattr(torch, name), device=device)
    load_stage(stage, config, folder)
    return Model(stage.eval(), folder)
