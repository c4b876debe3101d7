"""Cutting a model into stages, and recomputing activations, change no bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.models.config.units import tied_parameters, unit_count, unit_names
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config
from jllm.models.layers.documents import Documents
from own_code_helpers import write_model
from tiny_model_helpers import (
    loaded_stage,
    random_targets,
    random_tokens,
    reference_model,
    saved,
)

NAMES = ("llama-tied", "qwen2", "qwen3-window", "llama-dynamic")
NAMES += ("qwen", "internlm2-bias-linear", "baichuan2-13b")
NAMES += ("qwen2-moe-sparse-window", "qwen3-moe", "deepseek-v2-lite", "deepseek-v3")
BOUNDS = [0, 7, 40, 49, 58]


@pytest.fixture(scope="module", params=NAMES)
def directory(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    write_model(request.param, path)
    return path


def run(stages: list[Stage]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return loss and gradients of a chain of stages whose boundaries are cut as in a pipeline."""
    documents = Documents.from_bounds(BOUNDS)
    x = random_tokens(BOUNDS[-1])
    boundaries = []
    for stage in stages[:-1]:
        sent = stage(x, documents)
        x = sent.detach().requires_grad_()
        boundaries.append((sent, x))
    loss = stages[-1](x, documents, random_targets(BOUNDS[-1]))
    loss.backward(torch.tensor(1 / 31))
    for sent, received in reversed(boundaries):
        sent.backward(received.grad)
    found = {name: p.grad for stage in stages for name, p in stage.named_parameters()}
    return loss.detach(), found


def assert_same_bits(one, other):
    assert torch.equal(one[0], other[0])
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        assert torch.equal(gradient, other[1][name]), name


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_stages_compose_to_the_same_bits_as_the_whole(directory, data):
    units = unit_count(read_config(directory))
    inner = data.draw(st.sets(st.integers(1, units - 1), min_size=1, max_size=4))
    cuts = [0, *sorted(inner), units]
    parts = [range(a, b) for a, b in zip(cuts, cuts[1:], strict=False)]
    whole = run([loaded_stage(directory)])
    assert_same_bits(run([loaded_stage(directory, part) for part in parts]), whole)


@pytest.mark.parametrize("interval", [1, 2, 3])
def test_recomputation_changes_no_bit(directory, interval):
    recomputed = loaded_stage(directory, recompute_interval=interval)
    assert_same_bits(run([recomputed]), run([loaded_stage(directory)]))


def test_recomputation_keeps_only_the_inputs_of_its_units(directory):
    def kept_bytes(stage: Stage) -> int:
        kept = {}

        def pack(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        documents = Documents.from_bounds(BOUNDS)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            held = stage(x, documents)
        assert held.requires_grad
        weights = {p.untyped_storage().data_ptr() for p in stage.parameters()}
        return sum(size for pointer, size in kept.items() if pointer not in weights)

    config = read_config(directory)
    layers = range(1, unit_count(config) - 1)
    x = torch.randn(BOUNDS[-1], config.hidden_size).requires_grad_()
    recomputed = kept_bytes(loaded_stage(directory, layers, recompute_interval=1))
    tables = 2 * x.shape[0] * config.head_dim // 2 * 4  # angles, or biases, serve all layers
    if config.rope is None:
        tables = 4 * config.num_heads * 33**2
    assert recomputed <= len(layers) * x.nbytes + tables
    assert recomputed < kept_bytes(loaded_stage(directory, layers)) / 3


def test_tied_matrices_share_storage_but_have_two_gradients(tmp_path):
    saved(reference_model("llama-tied"), tmp_path)
    stage = loaded_stage(tmp_path)
    run([stage])
    embed, head = (stage.get_parameter(name) for name in tied_parameters(stage.config))
    assert embed.data_ptr() == head.data_ptr()
    assert embed is not head
    assert not torch.equal(embed.grad, head.grad)


def test_parameter_names_do_not_depend_on_the_cut(directory):
    whole = loaded_stage(directory)
    first, second = (loaded_stage(directory, part) for part in (range(3), range(3, 8)))
    names = [name for part in (first, second) for name, _ in part.named_parameters()]
    assert names == [name for name, _ in whole.named_parameters()]
    assert unit_names(whole.config)[:3] == ("embed", "layers.0.attention", "layers.0.mlp")


def test_a_stage_with_the_head_wants_targets(directory):
    with pytest.raises(ValueError, match="needs targets"):
        loaded_stage(directory)(random_tokens(58), Documents.from_bounds(BOUNDS))


@pytest.mark.parametrize("units", [range(0, 9), range(3, 3), range(-1, 2), range(0, 8, 2)])
def test_units_outside_the_model_are_refused(directory, units):
    with pytest.raises(ValueError, match="units must be a run within"):
        Stage(read_config(directory), units)


def test_an_unknown_attention_back_end_is_refused(directory):
    with pytest.raises(ValueError, match="unknown attention back end 'magic'; known: sdpa"):
        Stage(read_config(directory), range(1, 2), attention="magic")


def test_evaluation_keeps_nothing_and_gives_the_same_loss(directory):
    stage = loaded_stage(directory, recompute_interval=1)
    documents, targets = Documents.from_bounds(BOUNDS), random_targets(BOUNDS[-1])
    with torch.no_grad():
        loss = stage(random_tokens(BOUNDS[-1]), documents, targets)
    assert not loss.requires_grad
    assert torch.equal(loss, stage(random_tokens(BOUNDS[-1]), documents, targets).detach())
