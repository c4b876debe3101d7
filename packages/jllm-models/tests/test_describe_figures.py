"""`python -m jllm.models.describe` shows what a model is made of, from config.json alone."""

import json

import pytest

from describe_helpers import described
from jllm.models.config.units import unit_names
from jllm.models.costs.flops import flops_per_token, parameter_count
from jllm.models.describe import alike, main, total_figures, unit_figures
from jllm.models.families import decoder_config, read_config
from own_code_helpers import OWN_CODE, write_model
from published_model_helpers import PUBLISHED
from tiny_model_helpers import MODELS

QWEN, PARAMETERS = PUBLISHED["Qwen-14B"]


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**QWEN, "bf16": True}))
    return tmp_path


@pytest.mark.parametrize("name", [*MODELS, *OWN_CODE])
def test_units_add_up_to_the_model(name, tmp_path):
    config = write_model(name, tmp_path)
    units, total = unit_figures(config, 50), total_figures(config, 50)
    assert tuple(units) == unit_names(config)
    tied = units["embed"].parameters if config.tie_word_embeddings else 0
    assert sum(unit.parameters for unit in units.values()) - tied == total.parameters
    assert total.parameters == parameter_count(config)
    file = (tmp_path / "model.safetensors").read_bytes()
    assert len(file) == 8 + int.from_bytes(file[:8], "little") + total.bytes
    assert total.flops_per_token == pytest.approx(flops_per_token(config, 50))
    square = flops_per_token(config, 50, causal=False)
    assert total.flops_per_token_square == pytest.approx(square)


def test_layers_that_are_alike_are_one_line():
    values = {**PUBLISHED["Mistral-7B-v0.1"][0], "architectures": ["Qwen2ForCausalLM"]}
    values |= {"use_sliding_window": True, "max_window_layers": 30}
    config = decoder_config(values, "config.json")
    lines = [(name, count) for name, count, _ in alike(config, unit_figures(config, 9000))]
    assert lines == [
        ("embed", 1),
        ("layers.0…29.attention", 30),
        ("layers.0…29.mlp", 30),
        ("layers.30…31.attention", 2),
        ("layers.30…31.mlp", 2),
        ("head", 1),
    ]


def test_the_command_shows_a_published_model_with_little_work_and_without_torch(directory):
    found = described(directory, 70_000)
    for expected in ("QWenLMHeadModel, bfloat16", "layers.0…39.attention", f"{PARAMETERS:,}"):
        assert expected in found


def test_the_command_shows_what_a_token_meets_of_many_experts(tmp_path):
    """The calls are those of 94 layers of 128 experts, each matrix looked at by name."""
    values, parameters = PUBLISHED["Qwen3-235B-A22B"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    found = described(tmp_path, 1_500_000)
    for expected in ("active", "layers.0…93.mlp", f"{parameters:,}", "22.19 G"):
        assert expected in found
    assert max(map(len, found.splitlines())) <= 80


def test_json_holds_every_unit(directory, capsys):
    assert main([str(directory), "--json", "--length", "2048"]) == 0
    found = json.loads(capsys.readouterr().out)
    config = read_config(directory)
    assert tuple(found["units"]) == unit_names(config)
    assert found["model"]["parameters"] == PARAMETERS
    assert found["model"]["bytes"] == 2 * PARAMETERS
    assert (found["dtype"], found["document_length"]) == ("bfloat16", 2048)
    assert found["model"]["flops_per_token"] == flops_per_token(config, 2048)


@pytest.mark.parametrize("arguments", [["missing"], [".", "--length", "0"]])
def test_mistakes_are_one_line(directory, arguments, capsys, monkeypatch):
    monkeypatch.chdir(directory)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_an_adapter_is_counted(tmp_path, capsys):
    write_model("qwen3-moe", tmp_path)
    modules = "q_proj,gate_up_proj,down_proj"
    flags = [str(tmp_path), "--lora_dim", "4", "--lora_module_name", modules]
    assert main([*flags, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["adapter"]
    matrices = [(48, 48), *[(24, 48), (24, 48), (48, 24)] * 6] * 3
    assert found["parameters"] == sum(4 * (rows + columns) for rows, columns in matrices)
    assert found["matrices"] == len(matrices)
    assert main(flags) == 0
    assert f"{found['parameters']:,} parameters in 57 matrices" in capsys.readouterr().out
    assert main([*flags[:-1], "q_prj"]) == 2
    assert "no module 'q_prj'" in capsys.readouterr().err
