"""Families that Transformers does not have, each written once more from its published description.

One deliberately naive function a model: no part is shared between them or with the package, weights
are taken as they lie in the files, documents and heads are looped over, masks are written out.
Everything is float64, so that what differs is the rounding of the package. A function takes tensors
by their names in the files, the values of `config.json`, and the int64 tokens of one document.
"""

import math
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Values = dict[str, Any]


def qwen_logits(tensors: Tensors, values: Values, tokens: Tensor, *, training: bool) -> Tensor:
    """Return the logits of the first Qwen (github.com/QwenLM/Qwen, modeling_qwen.py)."""
    length, known = len(tokens), values["seq_length"]
    heads, width = values["num_attention_heads"], values["kv_channels"]
    size, alpha = heads * width, 1
    if values["use_dynamic_ntk"] and not training:
        alpha = max(2 ** math.ceil(math.log2(length / known) + 1) - 1, 1)
    base = values["rotary_emb_base"] * alpha ** (width / (width - 2))
    x = tensors["transformer.wte.weight"][tokens]
    for layer in range(values["num_hidden_layers"]):
        name = f"transformer.h.{layer}"
        mean_square = x.pow(2).mean(-1, keepdim=True) + values["layer_norm_epsilon"]
        normed = x / mean_square.sqrt() * tensors[f"{name}.ln_1.weight"]
        mixed = normed @ tensors[f"{name}.attn.c_attn.weight"].T
        mixed = mixed + tensors[f"{name}.attn.c_attn.bias"]
        outputs = []
        for head in range(heads):
            q, k, v = (mixed[:, p * size + head * width :][:, :width] for p in range(3))
            turned = []
            for vector in (q, k):
                rows = []
                for position in range(length):
                    one, two = vector[position, : width // 2], vector[position, width // 2 :]
                    steps = torch.arange(width // 2, dtype=torch.float64) * 2 / width
                    angle = position / base**steps
                    first = one * angle.cos() - two * angle.sin()
                    rows.append(torch.cat([first, two * angle.cos() + one * angle.sin()]))
                turned.append(torch.stack(rows))
            q, k = turned
            rows = []
            for position in range(length):
                query = q[position]
                if values["use_logn_attn"] and not training and position + 1 > known:
                    query = query * math.log(position + 1, known)
                weights = (k[: position + 1] @ query / math.sqrt(width)).softmax(0)
                rows.append(weights @ v[: position + 1])
            outputs.append(torch.stack(rows))
        x = x + torch.cat(outputs, dim=1) @ tensors[f"{name}.attn.c_proj.weight"].T
        mean_square = x.pow(2).mean(-1, keepdim=True) + values["layer_norm_epsilon"]
        normed = x / mean_square.sqrt() * tensors[f"{name}.ln_2.weight"]
        gate = normed @ tensors[f"{name}.mlp.w2.weight"].T
        product = normed @ tensors[f"{name}.mlp.w1.weight"].T * gate * gate.sigmoid()
        x = x + product @ tensors[f"{name}.mlp.c_proj.weight"].T
    mean_square = x.pow(2).mean(-1, keepdim=True) + values["layer_norm_epsilon"]
    normed = x / mean_square.sqrt() * tensors["transformer.ln_f.weight"]
    return normed @ tensors["lm_head.weight"].T


def internlm2_logits(tensors: Tensors, values: Values, tokens: Tensor, *, training: bool) -> Tensor:
    """Return the logits of InternLM2 (github.com/InternLM/InternLM, modeling_internlm2.py)."""
    del training
    length, hidden = len(tokens), values["hidden_size"]
    heads, groups = values["num_attention_heads"], values["num_key_value_heads"]
    width, per_group = hidden // heads, heads // groups
    scaling = values.get("rope_scaling") or {}
    base, stretch, factor = values["rope_theta"], 1.0, scaling.get("factor", 1.0)
    if scaling.get("type") == "linear":
        stretch = factor
    elif scaling.get("type") == "dynamic" and length > values["max_position_embeddings"]:
        ratio = factor * length / values["max_position_embeddings"] - (factor - 1)
        base = base * ratio ** (width / (width - 2))
    frequency = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(length, dtype=torch.float64)[:, None] / stretch * frequency
    cos, sin = angle.cos(), angle.sin()
    mask = torch.full((length, length), -torch.inf, dtype=torch.float64).triu(1)

    def norm(x: Tensor, name: str) -> Tensor:
        scale = (x.pow(2).mean(-1, keepdim=True) + values["rms_norm_eps"]).rsqrt()
        return x * scale * tensors[name]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ tensors[f"{name}.weight"].T + tensors.get(f"{name}.bias", 0)

    def turn(x: Tensor) -> Tensor:
        left, right = x[:, : width // 2], x[:, width // 2 :]
        return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=1)

    x = tensors["model.tok_embeddings.weight"][tokens]
    for layer in range(values["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        mixed = linear(norm(x, f"{name}.attention_norm.weight"), f"{name}.attention.wqkv")
        parts = mixed.view(length, groups, per_group + 2, width)
        outputs = []
        for head in range(heads):
            group, member = divmod(head, per_group)
            q, k = turn(parts[:, group, member]), turn(parts[:, group, per_group])
            weights = (q @ k.T / math.sqrt(width) + mask).softmax(-1)
            outputs.append(weights @ parts[:, group, per_group + 1])
        x = x + linear(torch.cat(outputs, dim=1), f"{name}.attention.wo")
        normed = norm(x, f"{name}.ffn_norm.weight")
        gate = linear(normed, f"{name}.feed_forward.w1")
        up = linear(normed, f"{name}.feed_forward.w3")
        x = x + linear(gate / (1 + (-gate).exp()) * up, f"{name}.feed_forward.w2")
    return linear(norm(x, "model.norm.weight"), "output")


def baichuan_7b_logits(
    tensors: Tensors, values: Values, tokens: Tensor, *, training: bool
) -> Tensor:
    """Return the logits of Baichuan-7B; with `z_loss_weight`, of Baichuan2-7B."""
    del training
    length, heads, hidden = len(tokens), values["num_attention_heads"], values["hidden_size"]
    width, epsilon = hidden // heads, values["rms_norm_eps"]
    x = tensors["model.embed_tokens.weight"][tokens]
    for layer in range(values["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        normed = x / (x.square().mean(1, True) + epsilon).sqrt()
        normed = normed * tensors[f"{name}.input_layernorm.weight"]
        pack = tensors[f"{name}.self_attn.W_pack.weight"]
        q, k, v = ((normed @ rows.T).view(length, heads, width) for rows in pack.split(hidden))
        half = torch.arange(width // 2, dtype=torch.float64)
        angle = torch.outer(torch.arange(length).double(), 10_000 ** (-2 * half / width))
        turns = torch.polar(torch.ones_like(angle), angle)[:, None]
        q, k = (torch.complex(*y.split(width // 2, dim=2)) * turns for y in (q, k))
        q, k = (torch.cat([y.real, y.imag], dim=2) for y in (q, k))
        scores = torch.einsum("qhd,khd->hqk", q, k) / width**0.5
        later = torch.ones(length, length).triu(1).bool()
        weights = scores.masked_fill(later, -torch.inf).softmax(2)
        mixed = torch.einsum("hqk,khd->qhd", weights, v).reshape(length, hidden)
        x = x + mixed @ tensors[f"{name}.self_attn.o_proj.weight"].T
        normed = x / (x.square().mean(1, True) + epsilon).sqrt()
        normed = normed * tensors[f"{name}.post_attention_layernorm.weight"]
        gate = normed @ tensors[f"{name}.mlp.gate_proj.weight"].T
        up = normed @ tensors[f"{name}.mlp.up_proj.weight"].T
        x = x + (gate * gate.sigmoid() * up) @ tensors[f"{name}.mlp.down_proj.weight"].T
    x = x / (x.square().mean(1, True) + epsilon).sqrt() * tensors["model.norm.weight"]
    head = tensors["lm_head.weight"]
    if "z_loss_weight" in values:
        head = torch.stack([row / row.square().sum().sqrt() for row in head])
    return x @ head.T


def baichuan_13b_logits(
    tensors: Tensors, values: Values, tokens: Tensor, *, training: bool
) -> Tensor:
    """Return the logits of Baichuan-13B; with `z_loss_weight`, of Baichuan2-13B."""
    del training
    heads, hidden = values["num_attention_heads"], values["hidden_size"]
    width, length = hidden // heads, len(tokens)
    below = 1
    while below * 2 <= heads:
        below *= 2
    slopes = [2.0 ** (-8 * (head + 1) / below) for head in range(below)]
    slopes += [2.0 ** (-4 * (2 * head + 1) / below) for head in range(heads - below)]

    def normalise(y: Tensor, weight: Tensor) -> Tensor:
        return weight * y / ((y * y).sum(-1) / hidden + values["rms_norm_eps"])[:, None] ** 0.5

    x = torch.stack([tensors["model.embed_tokens.weight"][token] for token in tokens])
    for layer in range(values["num_hidden_layers"]):
        own = {n.split(".", 3)[3]: t for n, t in tensors.items() if f".{layer}." in n}
        normed = normalise(x, own["input_layernorm.weight"])
        states = (own["self_attn.W_pack.weight"] @ normed.T).T
        outputs = torch.zeros_like(x)
        for head in range(heads):
            rows = slice(head * width, (head + 1) * width)
            q, k, v = (states[:, part * hidden :][:, rows] for part in range(3))
            for at in range(length):
                scores = [
                    (q[at] * k[key]).sum() / width**0.5 + slopes[head] * key
                    for key in range(at + 1)  # a line of the key's place is one of the distance
                ]
                weights = torch.stack(scores).softmax(0)
                picked = (weights[:, None] * v[: at + 1]).sum(0)
                outputs = outputs.index_put(
                    (torch.tensor([at]), torch.arange(width)[None] + head * width), picked[None]
                )
        x = x + outputs @ own["self_attn.o_proj.weight"].T
        normed = normalise(x, own["post_attention_layernorm.weight"])
        gate = torch.nn.functional.silu(normed @ own["mlp.gate_proj.weight"].T)
        x = x + (gate * (normed @ own["mlp.up_proj.weight"].T)) @ own["mlp.down_proj.weight"].T
    head = tensors["lm_head.weight"]
    if "z_loss_weight" in values:
        head = torch.nn.functional.normalize(head)
    return normalise(x, tensors["model.norm.weight"]) @ head.T
