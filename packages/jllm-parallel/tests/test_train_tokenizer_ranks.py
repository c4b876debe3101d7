"""A run trains on data of its own tokenizer only, unless it is told otherwise."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from jllm.parallel.config.config import TrainConfig
from jllm.parallel.training import command
from jllm.raw2ids import main as raw2ids
from spawn_helpers import launch
from toy_tokenizer_helpers import CHATML, write_tokenizer
from training_helpers import alone, changed, write_data


def convert_chats(tokenizer: Path, out: Path) -> Path:
    """Eight rows of chats."""
    source = out.with_suffix(".jsonl")
    chat = [{"user": "what colour is the ball?"}, {"assistant": "red, it is"}]
    source.write_text((json.dumps(chat) + "\n") * 8)
    flags = ["--tokenizer", tokenizer, "-i", source, "-o", out, "--max_len", 60, "--cores", 1]
    assert raw2ids(list(map(str, flags))) == 0
    return out


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of two steps, done, whose model has the tokenizer of its data."""
    folder = tmp_path_factory.mktemp("tokenizer")
    model = folder / "model"
    values = LlamaConfig(
        vocab_size=300, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    LlamaForCausalLM(values).save_pretrained(model)
    write_tokenizer(model, 20)
    made = TrainConfig(
        model=str(model),
        train_data=str(convert_chats(model, folder / "data")),
        global_batch_size=1,
        max_steps=2,
        checkpoint=str(folder / "run"),
        threads=1,
    )
    alone(made)
    return made


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of another tokenizer."""
    folder = tmp_path_factory.mktemp("other")
    return convert_chats(write_tokenizer(folder / "tokenizer", 30), folder / "data")


def test_the_checkpoint_names_and_holds_the_tokenizer_of_its_data(config: TrainConfig) -> None:
    saved = Path(config.checkpoint) / "2"
    state = json.loads((saved / "trainer/state.json").read_text())
    info = json.loads((Path(config.train_data) / "data_info.json").read_text())
    for key in ("tokenizer_digest", "chat_template_digest", "special_tokens_digest"):
        assert state[key] == info[key] != ""
    kept = Path(config.train_data) / "tokenizer"
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (saved / name).read_bytes() == (kept / name).read_bytes()


@pytest.mark.parametrize("flag", ["train_data", "eval_data"])
@pytest.mark.parametrize("start", [{}, {"init": True}, {"dry_run": True}])
def test_data_of_another_tokenizer_are_refused_with_the_first_difference(
    config: TrainConfig,
    other: Path,
    capfd: pytest.CaptureFixture[str],
    flag: str,
    start: dict[str, bool],
) -> None:
    with pytest.raises(ValueError, match=rf"^--{flag} {other} was made with another tokenizer"):
        alone(changed(config, "refused", **{flag: str(other)}, **start))
    shown = capfd.readouterr().err
    assert "the first text with other ids: row 0 of" in shown
    assert any(line.startswith("→") for line in shown.splitlines())
    assert not Path(config.checkpoint).with_name("refused").exists()


def refused_here(config: TrainConfig) -> None:
    with pytest.raises(ValueError, match="was made with another tokenizer"):
        command.train(config)


def test_every_process_of_a_job_refuses(config: TrainConfig, other: Path) -> None:
    """One compares and shows, the others are told."""
    launch(2, refused_here, changed(config, "two", train_data=str(other), global_batch_size=2))


def test_the_flag_overrides_and_says_so(
    config: TrainConfig, other: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone(changed(config, "allowed", train_data=str(other), allow_other_tokenizer=True))
    shown = capfd.readouterr().err
    assert f"note: --allow_other_tokenizer: --train_data {other} was made with another" in shown


def test_another_template_of_the_model_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    model = Path(shutil.copytree(config.model, tmp_path / "model"))
    (model / "chat_template.jinja").write_text(CHATML.replace("}}\n", "}}: ", 1))
    with pytest.raises(ValueError, match="another chat template than that of --model"):
        alone(changed(config, "template", model=str(model)))


def test_weights_of_a_checkpoint_with_another_tokenizer_are_refused(
    config: TrainConfig, other: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(config.model, tmp_path / "model"))
    write_tokenizer(model, 30)
    run = changed(config, "from", model=str(model), train_data=str(other))
    with pytest.raises(ValueError, match="another tokenizer than that of --from_ckpt"):
        alone(changed(run, "from", from_ckpt=config.checkpoint))


@pytest.mark.parametrize("allowed", [False, True])
def test_resuming_with_data_of_another_tokenizer_is_refused_with_the_comparison(
    config: TrainConfig, other: Path, capfd: pytest.CaptureFixture[str], allowed: bool
) -> None:
    """With the flag too: the rows are not those of the run."""
    resumed = changed(
        config, "run", resume_ckpt=config.checkpoint, train_data=str(other), max_steps=3,
        allow_other_tokenizer=allowed,
    )  # fmt: skip
    expected = r"--train_data \(its contents\)" if allowed else "than that of --resume_ckpt"
    with pytest.raises(ValueError, match=expected):
        alone(resumed)
    assert any(line.startswith("→") for line in capfd.readouterr().err.splitlines()) != allowed


def test_resuming_with_the_same_tokenizer_goes_on(config: TrainConfig) -> None:
    copy = shutil.copytree(config.checkpoint, Path(config.checkpoint).with_name("copy"))
    alone(changed(config, "copy", resume_ckpt=str(copy), max_steps=3))
    assert (Path(copy) / "3").is_dir()


@pytest.mark.parametrize("by_others", [True, False])
def test_what_cannot_be_compared_is_one_note(
    config: TrainConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str], by_others: bool
) -> None:
    model, data = config.model, config.train_data
    if by_others:
        data = str(write_data(tmp_path / "data", 8))
    else:
        model = str(shutil.copytree(model, tmp_path / "model", ignore=lambda *_: [
            "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]))  # fmt: skip
    alone(changed(config, f"note{by_others}", model=model, train_data=data))
    (note,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("note:"))
    assert ("does not say which tokenizer" if by_others else "holds no tokenizer") in note
