"""Multi-token prediction once more, naively: Transformers' layers, all else written out anew."""

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3DecoderLayer

from jllm.models.config.units import unit_count
from jllm.models.decoder.load import load_stage
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config, with_prediction
from tiny_model_helpers import reference_gradients, reference_model

NAME, WEIGHT = "deepseek-v3", 0.3


def trained(directory, units=None, weight=WEIGHT, **options):
    """Load a stage that trains the modules of a directory."""
    config = read_config(directory)
    config = with_prediction(config, config.prediction.depth, weight)
    stage = Stage(config, units or range(unit_count(config)), **options)
    load_stage(stage, config, directory)
    return stage


def head(stage):
    """Return the unit that predicts."""
    return stage.units[str(unit_count(stage.config) - 1)]


class Naive(nn.Module):
    """A tiny DeepSeek-V3 with modules of multi-token prediction."""

    def __init__(self, depth, **changes):
        super().__init__()
        self.main = reference_model(NAME, num_nextn_predict_layers=depth, **changes)
        config = self.main.config
        torch.manual_seed(11)
        self.extra = nn.ModuleList(
            Extra(config, config.num_hidden_layers + k) for k in range(depth)
        )
        with torch.no_grad():
            for name, tensor in (*self.extra.named_parameters(), *self.extra.named_buffers()):
                if tensor.dim() > 1 or name.endswith("bias"):
                    tensor.normal_(0, 0.2)
                else:
                    tensor.uniform_(0.5, 1.5)

    def losses(self, tokens, targets):
        """Return Σ token losses of one document by the head and by each module, and logits."""
        hidden = self.main.model(input_ids=tokens[None], use_cache=False).last_hidden_state[0]
        logits = [self.main.lm_head(hidden)]
        losses = [summed(logits[0], targets)]
        for k, extra in enumerate(self.extra, start=1):
            if len(tokens) <= k:
                break
            embedded = self.main.model.embed_tokens.weight[tokens[k:]]
            hidden = extra(embedded, hidden[: len(tokens) - k], self.main.model.rotary_emb)
            logits.append(self.main.lm_head(hidden))
            losses.append(summed(logits[-1], targets[k:]))
        return losses, logits

    def tensors(self):
        """Return {name in files: tensor} of the extra layers, those written once more aside."""
        first = self.main.config.num_hidden_layers
        return {
            f"model.layers.{first + k}.{name}": tensor
            for k, extra in enumerate(self.extra)
            for name, tensor in extra.state_dict().items()
        }

    def gradients(self):
        """Return the gradient of every tensor by its name in files."""
        first = self.main.config.num_hidden_layers
        extra = {
            f"model.layers.{first + k}.{name}": gradient
            for k, module in enumerate(self.extra)
            for name, gradient in reference_gradients(module).items()
        }
        return reference_gradients(self.main) | extra

    def save(self, directory):
        """Write the directory as DeepSeek-V3 is published: with copies of embedding and head."""
        self.main.save_pretrained(directory)
        path, first = directory / "model.safetensors", self.main.config.num_hidden_layers
        tensors = load_file(path)
        for name, tensor in self.tensors().items():
            tensors |= apart(name, tensor)
        for k in range(len(self.extra)):
            layer = f"model.layers.{first + k}"
            tensors[f"{layer}.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
            head = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"])
            tensors[f"{layer}.shared_head.head.weight"] = head.clone()
        save_file(tensors, path, metadata={"format": "pt"})


class Extra(nn.Module):
    """One module; parameters are named as in files."""

    def __init__(self, config, layer):
        super().__init__()
        block = DeepseekV3DecoderLayer(config, layer)
        for name, module in block.named_children():
            setattr(self, name, module)
        object.__setattr__(self, "block", block)
        width = config.hidden_size
        self.eps = config.rms_norm_eps
        self.enorm, self.hnorm = Weight(width), Weight(width)
        self.eh_proj = nn.Linear(2 * width, width, bias=False)
        self.shared_head = nn.Module()
        self.shared_head.norm = Weight(width)

    def forward(self, embedded, hidden, rotary):
        both = [self.norm(embedded, self.enorm), self.norm(hidden, self.hnorm)]
        x = self.eh_proj(torch.cat(both, dim=-1))[None]
        length = x.shape[1]
        positions = torch.arange(length)[None]
        mask = torch.full((length, length), -torch.inf).triu(1)[None, None]
        angles = rotary(x, position_ids=positions)
        x = self.block(x, attention_mask=mask, position_ids=positions, position_embeddings=angles)
        return self.norm(x[0], self.shared_head.norm)

    def norm(self, x, module):
        return module.weight * x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()


class Weight(nn.Module):
    """A parameter with the name that norms have in files."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


def summed(logits, targets):
    """Return Σ −log p(target) over the targets that are not −100."""
    trained = targets != -100
    logprobs = logits[trained].log_softmax(-1)
    return -logprobs.gather(1, targets[trained][:, None]).sum()


def apart(name, tensor):
    """Return a tensor as files have it: the experts apart, gate and up apart."""
    before, fused, after = name.partition(".experts.")
    if not fused:
        return {name: tensor}
    found = {}
    for number, each in enumerate(tensor):
        expert = f"{before}.experts.{number}"
        if after == "down_proj":
            found[f"{expert}.down_proj.weight"] = each.clone()
        else:
            gate, up = each.chunk(2)
            found[f"{expert}.gate_proj.weight"] = gate.clone()
            found[f"{expert}.up_proj.weight"] = up.clone()
    return found
