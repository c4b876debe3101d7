"""What torch keeps for backward, for the tests of costs."""

import torch

TOKENS = 64


def narrower(config):
    """Return by how much values are narrower than keys: the kernels pad them, which counts not."""
    return config.head_dim - config.latent.value_dim if config.latent else 0


def kept_bytes(stage, *arguments):
    """Return the bytes that a stage keeps for backward, its parameters aside."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = stage(*arguments)
    assert result.requires_grad
    weights = {p.untyped_storage().data_ptr() for p in stage.parameters()}
    return sum(size for pointer, size in kept.items() if pointer not in weights)
