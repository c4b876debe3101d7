"""Fresh weights are a function of the tensor's name and the seed alone."""

import torch

from jllm.models.config.units import tied_parameters, unit_count
from jllm.models.decoder.initialize import initial_tensor, initialize_
from jllm.models.decoder.stage import Stage
from jllm.models.weights.table import weight_table
from tiny_model_helpers import reference_model, saved


def fresh(config, units, seed=3):
    """Return the initialised parameters of a stage."""
    stage = Stage(config, units)
    initialize_(stage, config, seed)
    return dict(stage.named_parameters())


def test_any_cut_starts_from_the_same_numbers(tmp_path):
    config = saved(reference_model("qwen3-tied-bias"), tmp_path)
    whole = fresh(config, range(unit_count(config)))
    parts = {name: p for cut in (range(3), range(3, 8)) for name, p in fresh(config, cut).items()}
    assert whole.keys() == parts.keys()
    for name, parameter in whole.items():
        assert torch.equal(parameter, parts[name]), name
    embed, head = tied_parameters(config)
    assert torch.equal(parts[embed], parts[head])


def test_matrices_are_normal_norms_one_biases_zero(tmp_path):
    config = saved(reference_model("llama-bias", hidden_size=96), tmp_path)
    parameters = fresh(config, range(unit_count(config)))
    for piece in weight_table(config, range(unit_count(config))):
        values = parameters[piece.parameter][piece.here_index]
        if piece.tensor.endswith("norm.weight"):
            assert torch.equal(values, torch.ones_like(values))
        elif piece.tensor.endswith(".bias"):
            assert torch.equal(values, torch.zeros_like(values))
        else:
            assert abs(values.std().item() / config.initializer_range - 1) < 0.05, piece.tensor
            assert abs(values.mean().item()) < 0.1 * config.initializer_range, piece.tensor


def test_names_and_seeds_give_different_numbers():
    first = initial_tensor("a.weight", (20, 20), 0.02, 0)
    assert torch.equal(first, initial_tensor("a.weight", (20, 20), 0.02, 0))
    for other in (("b.weight", 0), ("a.weight", 1), ("a.weight", -1)):
        tensor = initial_tensor(other[0], (20, 20), 0.02, other[1])
        assert abs(torch.corrcoef(torch.stack([first.ravel(), tensor.ravel()]))[0, 1]) < 0.2
