"""Attention back ends equal a dense float64 computation with an explicit mask."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.models.attention_backends import BACKENDS, attention_backend
from jllm.models.documents import Documents


def dense_attention(q_THK, k_TGK, v_TGK, documents):
    """Return attention over the whole square with everything foreign masked, in float64."""
    group = q_THK.shape[1] // k_TGK.shape[1]
    k_THK, v_THK = (x.double().repeat_interleave(group, dim=1) for x in (k_TGK, v_TGK))
    scores_HTS = torch.einsum("thk,shk->hts", q_THK.double(), k_THK) / q_THK.shape[-1] ** 0.5
    owner = torch.repeat_interleave(torch.tensor(documents.lengths))
    index = torch.arange(len(owner))
    seen = (owner[:, None] == owner) & (index[:, None] >= index)
    weights = scores_HTS.masked_fill(~seen, -torch.inf).softmax(-1)
    return torch.einsum("hts,shk->thk", weights, v_THK)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 33), min_size=1, max_size=6),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    width=st.sampled_from([2, 8, 20]),
    name=st.sampled_from(sorted(BACKENDS)),
)
def test_output_and_gradients_equal_dense_attention(lengths, kv_heads, group, width, name):
    documents = Documents.from_bounds(torch.tensor([0, *lengths]).cumsum(0).tolist())
    tokens = sum(lengths)
    heads = (kv_heads * group, kv_heads, kv_heads)
    inputs = [torch.randn(tokens, count, width).requires_grad_() for count in heads]
    ours = attention_backend(name)(*inputs, documents)
    theirs = dense_attention(*inputs, documents)
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
