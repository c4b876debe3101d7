"""Attention back ends equal a dense float64 computation with an explicit mask."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.models.layers.attention_backends import BACKENDS, attention_backend
from jllm.models.layers.documents import Documents
from jllm.models.layers.positions import alibi_bias, alibi_slopes


def dense_attention(q_THK, k_TGK, v_TGK, documents, window=None, slopes=None):
    """Return attention over the whole square with everything foreign masked, in float64."""
    group = q_THK.shape[1] // k_TGK.shape[1]
    k_THK, v_THK = (x.double().repeat_interleave(group, dim=1) for x in (k_TGK, v_TGK))
    scores_HTS = torch.einsum("thk,shk->hts", q_THK.double(), k_THK) / q_THK.shape[-1] ** 0.5
    owner = torch.repeat_interleave(torch.tensor(documents.lengths))
    index = torch.arange(len(owner))
    behind = index[:, None] - index
    seen = (owner[:, None] == owner) & (behind >= 0)
    if window is not None:
        seen &= behind < window
    if slopes is not None:
        scores_HTS = scores_HTS - torch.tensor(slopes)[:, None, None].double() * behind
    weights = scores_HTS.masked_fill(~seen, -torch.inf).softmax(-1)
    return torch.einsum("hts,shk->thk", weights, v_THK)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 33), min_size=1, max_size=6),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    width=st.sampled_from([2, 8, 20]),
    kind=st.sampled_from(["causal", "window", "bias"]),
    window=st.integers(1, 34),
    name=st.sampled_from(sorted(BACKENDS)),
)
def test_output_and_gradients_equal_dense_attention(
    lengths, kv_heads, group, width, kind, window, name
):
    documents = Documents.from_bounds(torch.tensor([0, *lengths]).cumsum(0).tolist())
    tokens = sum(lengths)
    heads = (kv_heads * group, kv_heads, kv_heads)
    inputs = [torch.randn(tokens, count, width).requires_grad_() for count in heads]
    ours, theirs = {}, {}
    if kind == "window":
        ours = theirs = {"window": window}
    elif kind == "bias":
        ours = {"bias_HLL": alibi_bias(heads[0], documents.max_length)}
        theirs = {"slopes": alibi_slopes(heads[0])}
    ours = attention_backend(name)(*inputs, documents, **ours)
    theirs = dense_attention(*inputs, documents, **theirs)
    upstream = torch.randn_like(ours)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    our_gradients = torch.autograd.grad(ours, inputs, upstream)
    their_gradients = torch.autograd.grad(theirs, inputs, upstream.double())
    for mine, other in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_views_of_one_projection_are_taken_as_they_are(name):
    qkv_TNK = torch.randn(12, 5, 8)
    documents = Documents.from_bounds([0, 4, 8, 12])
    views = qkv_TNK.split((3, 1, 1), dim=1)
    copies = [view.contiguous() for view in views]
    attend = attention_backend(name)
    torch.testing.assert_close(attend(*views, documents), attend(*copies, documents))


def test_a_window_as_long_as_the_documents_is_none():
    inputs = [torch.randn(12, count, 8) for count in (4, 2, 2)]
    documents = Documents.from_bounds([0, 5, 12])
    attend = attention_backend("sdpa")
    assert torch.equal(attend(*inputs, documents, window=7), attend(*inputs, documents))


def test_a_bfloat16_bias_goes_with_bfloat16_queries():
    inputs = [torch.randn(12, 4, 8) for _ in range(3)]
    documents, bias = Documents.from_bounds([0, 5, 12]), alibi_bias(4, 7)
    attend = attention_backend("sdpa")
    exact = attend(*inputs, documents, bias_HLL=bias)
    narrow = [x.bfloat16() for x in inputs]
    rounded = attend(*narrow, documents, bias_HLL=bias.bfloat16())
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.05)


def test_slopes_of_alibi_are_those_of_its_paper():
    assert alibi_slopes(8) == tuple(2.0**-i for i in range(1, 9))
    six = (2**-2.0, 2**-4.0, 2**-6.0, 2**-8.0, 2**-1.0, 2**-3.0)
    assert alibi_slopes(6) == six


def test_blocks_and_layers_share_one_mask():
    inputs = [torch.randn(50, count, 8).requires_grad_() for count in (4, 2, 2)]
    documents = Documents.from_bounds([0, 30, 50])
    kept = {}

    def pack(tensor):
        if tensor.isinf().any():
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    attend = attention_backend("sdpa")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layers = [attend(*inputs, documents, window=6) for _ in range(3)]
    assert all(layer.requires_grad for layer in layers)
    assert list(kept.values()) == [4 * 6 * 12]


def test_training_follows_inference():
    inputs = [torch.randn(40, 2, 4) for _ in range(3)]
    documents, attend = Documents.from_bounds([0, 40]), attention_backend("sdpa")
    with torch.inference_mode():
        before = attend(*inputs, documents, window=11).clone()
    inputs[0].requires_grad_()
    after = attend(*inputs, documents, window=11)
    after.sum().backward()
    torch.testing.assert_close(after.detach(), before)
