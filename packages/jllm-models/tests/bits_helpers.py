"""What has the same bits wherever it stands, checked in the environment of this process.

As a program it runs every check, prints those that fail, and says so by its exit status. Nothing
here compares products of different shapes: kernels promise nothing about these.
"""

import sys
import traceback
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from jllm.models.config.decoder_config import DecoderConfig, ExpertsConfig, RopeConfig
from jllm.models.config.units import unit_count
from jllm.models.decoder.initialize import initialize_
from jllm.models.decoder.stage import Stage
from jllm.models.experts.balance import BalanceLoss, BalanceTerms, Tally, balanced
from jllm.models.experts.routing import route
from jllm.models.layers.activation import sigmoid, swiglu
from jllm.models.layers.documents import Documents
from jllm.models.layers.linear import Linear
from jllm.models.layers.norm import RMSNorm
from jllm.models.layers.row_norm import unit_rows
from jllm.models.lora.layers import LoraLinear
from jllm.models.lora.settings import Lora
from jllm.models.lora.table import AdaptedMatrix, AdaptedRows

DTYPES = (torch.float32, torch.bfloat16)
LENGTHS = (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65)
"""Around the multiples of what the CPU's vectors hold."""
BOUNDS = [0, 9, 14, 20, 28, 37, 42]
COUNTED = [True, False, True, True, False, False]
"""Three sequences of 14 tokens in documents; of the last sequence nothing counts."""


def pieces() -> Iterator[slice]:
    """Give pieces of 100 elements at every place that a vector may begin at."""
    return (slice(start, start + length) for length in LENGTHS for start in range(35))


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Return normal numbers of deviation 4, among them such whose exp overflows."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 4
    values.view(-1)[::13] *= 25
    return values.to(dtype)


def both(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Return a function's value and gradient."""
    leaf = x.clone().requires_grad_()
    y = function(leaf)
    return y.detach(), torch.autograd.grad(y, leaf, grad)[0]


def same(one: Tensor, other: Tensor) -> bool:
    """Compare bits: 0 and −0 differ, and a number that is none equals itself."""
    bits = torch.int16 if one.itemsize == 2 else torch.int32
    return torch.equal(one.contiguous().view(bits), other.contiguous().view(bits))


def check_sigmoid_of_pieces() -> None:
    for dtype in DTYPES:
        x, grad = drawn(100, dtype=dtype), drawn(100, dtype=dtype, seed=1)
        whole = both(sigmoid, x, grad)
        for part in pieces():
            found = both(sigmoid, x[part], grad[part])
            assert all(same(a, b[part]) for a, b in zip(found, whole, strict=True)), (dtype, part)


def check_swiglu_of_columns() -> None:
    for dtype in DTYPES:
        x, grad = drawn(3, 200, dtype=dtype), drawn(3, 100, dtype=dtype, seed=1)
        gate, up = x.chunk(2, dim=-1)
        value, gradient = both(swiglu, x, grad)
        whole = (value, *gradient.chunk(2, dim=-1))
        for part in pieces():
            cut = torch.cat([gate[:, part], up[:, part]], dim=-1)
            value, gradient = both(swiglu, cut, grad[:, part])
            found = (value, *gradient.chunk(2, dim=-1))
            assert all(same(a, b[:, part]) for a, b in zip(found, whole, strict=True)), (
                dtype,
                part,
            )


def check_activations_with_threads() -> None:
    """Threads share the elements of a tensor, and a share may begin and end anywhere."""
    threads = torch.get_num_threads()
    for dtype in DTYPES:
        x, grad = drawn(2111, 2 * 63, dtype=dtype), drawn(2111, 63, dtype=dtype, seed=1)
        found = []
        for count in (1, 2, 3, 5, 7):
            torch.set_num_threads(count)
            found.append((*both(swiglu, x, grad), *both(sigmoid, x, x)))
        torch.set_num_threads(threads)
        for values in found[1:]:
            assert all(map(same, values, found[0])), dtype


def check_rows() -> None:
    """What is done to each row for itself has the bits of the row, values and gradients."""
    for width in (6, 31, 64):
        norm = RMSNorm(width, 1e-6, dtype=torch.float32, device="cpu")
        norm.weight.data.copy_(drawn(width, seed=2))

        def scores(x: Tensor) -> Tensor:
            return route(x, 3, renormalise=True, scoring="sigmoid").weights_TA

        def shares(x: Tensor) -> Tensor:
            return route(x, 3, renormalise=True).weights_TA

        for function in (norm, unit_rows, scores, shares):
            x = drawn(53, width, seed=width)
            grad = drawn(*function(x).shape, seed=1)
            whole = both(function, x, grad)
            for length in (1, 2, 3, 5, 8, 17, 32):
                for start in range(20):
                    part = slice(start, start + length)
                    found = both(function, x[part], grad[part])
                    equal = all(same(a, b[part]) for a, b in zip(found, whole, strict=True))
                    assert equal, (function, width, part)


def check_adapter_of_rows() -> None:
    """What an adapter adds to a row has the bits of the row; the products are given."""
    for dtype in DTYPES:
        part = AdaptedRows(tensor="w", start=0, stop=23, offset=0, slices=())
        matrix = AdaptedMatrix(module="m", inputs=5, parts=(part,))
        found: list[tuple[slice, Tensor]] = []
        lora = Lora(rank=23, alpha=23 * 0.3, tensors=("w",))
        layer = LoraLinear(Linear(5, 23, dtype=dtype, device="cpu"), matrix, lora)
        y, product = drawn(40, 23, dtype=dtype), drawn(40, 23, dtype=dtype, seed=1)

        for start in range(20):
            for length in (40, *range(1, 20)):
                rows = slice(start, start + length)
                inputs = (y[rows].clone(), product[rows], torch.empty(23, 23), layer.parts)
                found.append((rows, layer.add_products(*inputs, lambda inner, outer: inner)))
        whole = found[0][1]
        assert [rows for rows, values in found[1:] if not same(values, whole[rows])] == []


def check_what_does_not_count() -> None:
    """Logits of tokens that do not count change no bit of the balance and its gradient."""
    counted = torch.tensor(COUNTED).repeat_interleave(torch.tensor(BOUNDS).diff())
    logits = drawn(BOUNDS[-1], 13) / 2
    for scoring in ("softmax", "sigmoid"):
        found = []
        for seed in range(1, 4):
            noise = drawn(*logits.shape, seed=seed)
            filled = torch.where(counted[:, None], logits, noise).requires_grad_()
            routing = route(filled, 3, renormalise=True, scoring=scoring)
            tally = Tally(13, "cpu")
            terms = BalanceTerms(
                loss=BalanceLoss(alpha=0.3, z_alpha=0.1),
                counted_T=counted,
                length=14,
                tokens=23,
                sequences=2,
            )
            out = routing.weights_TA.square().sum(1, keepdim=True)
            y = balanced(out, filled, routing.experts_TA, scoring, terms, tally)
            y.backward(counted[:, None].float())
            assert filled.grad is not None
            assert not filled.grad[~counted].any() and filled.grad[counted].any()
            weights = routing.weights_TA[counted].detach()
            found.append((filled.grad[counted], weights, tally.loads_E, tally.losses_2))
        for values in found[1:]:
            assert all(map(torch.equal, values, found[0])), scoring


def tiny(experts: ExpertsConfig | None = None) -> DecoderConfig:
    """Return a decoder of two layers whose widths are no multiples of a vector."""
    return DecoderConfig(
        architecture="LlamaForCausalLM",
        vocab_size=61,
        hidden_size=36,
        intermediate_size=52,
        num_layers=2,
        num_heads=3,
        num_kv_heads=1,
        head_dim=12,
        norm_eps=1e-6,
        max_position_embeddings=64,
        rope=RopeConfig(),
        experts=experts,
        initializer_range=0.3,
    )


def stage_of(config: DecoderConfig, units: range) -> Stage:
    stage = Stage(config, units)
    initialize_(stage, config, 7)
    return stage


def check_documents() -> None:
    """The logits of a document do not depend on the documents beside it in a row."""
    config = tiny()
    stage = stage_of(config, range(unit_count(config)))
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(61, (BOUNDS[-1],), generator=generator)
    documents = Documents.from_bounds(BOUNDS)
    with torch.no_grad():
        before = stage.logits(tokens, documents)
        tokens[:14] = torch.randint(61, (14,), generator=generator)
        after = stage.logits(tokens, documents)
    assert same(before[14:], after[14:])
    assert not torch.equal(before[:14], after[:14])


def check_cuts() -> None:
    """Two stages have the loss and the gradients of the whole, with experts too."""
    mixture = ExpertsConfig(
        layers=(1,),
        num_experts=5,
        experts_per_token=2,
        intermediate_size=20,
        shared_intermediate_size=28,
        scoring="sigmoid",
    )
    config = tiny(mixture)
    units = unit_count(config)
    tokens = torch.randint(61, (BOUNDS[-1],), generator=torch.Generator().manual_seed(3))
    results = []
    for cuts in ((0, units), (0, 3, units)):
        x, stages = tokens, []
        for start, stop in zip(cuts, cuts[1:], strict=False):
            stages.append(stage_of(config, range(start, stop)))
        documents = Documents.from_bounds(BOUNDS)
        for stage in stages[:-1]:
            x = stage(x, documents)
        loss = stages[-1](x, documents, tokens)
        loss.backward()
        gradients = {n: p.grad for stage in stages for n, p in stage.named_parameters()}
        results.append(gradients | {"loss": loss.detach()})
    whole, cut = results
    assert cut.keys() == whole.keys()
    assert [name for name in whole if not same(cut[name], whole[name])] == []


def main() -> int:
    """Run every check of this file; the number of those that fail."""
    checks = [value for name, value in globals().items() if name.startswith("check_")]
    assert checks
    failed = 0
    for check in checks:
        try:
            check()
        except Exception:
            failed += 1
            sys.stderr.write(f"{check.__name__}:\n{traceback.format_exc()}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
