"""The whole flow by its real commands: chats → token ids → pipeline training → Transformers."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import flow_helpers as flow

STEPS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a tiny model, chats and their token ids."""
    folder = tmp_path_factory.mktemp("flow")
    flow.make_chats(folder / "train.jsonl", 600, seed=1)
    flow.make_chats(folder / "eval.jsonl", 60, seed=2)
    texts = (folder / "train.jsonl").read_text().splitlines()
    tokenizer = flow.make_tokenizer(folder / "model", texts)
    flow.make_model(folder / "model", tokenizer)
    for part in ("train", "eval"):
        flow.convert(folder / f"{part}.jsonl", folder / "model", folder / "ids" / part)
    return folder


def flags(folder, checkpoint, *more):
    return (
        *("--model", folder / "model", "--train_data", folder / "ids/train"),
        *("--eval_data", folder / "ids/eval", "--global_batch_size", "8"),
        *("--max_steps", str(STEPS), "--learning_rate", "3e-3", "--lr_scheduler_type", "linear"),
        *("--checkpoint", checkpoint, "--steps_per_checkpoint", "6", *more),
    )


@pytest.fixture(scope="module")
def trained(folder):
    """The checkpoints of a run on two pipeline stages."""
    checkpoint = folder / "two_stages"
    flow.train(2, 2, *flags(folder, checkpoint))
    return checkpoint


def test_the_held_out_loss_falls(trained):
    losses = flow.read_metric(trained, "eval_loss")
    assert losses[STEPS] < losses[0]


def test_every_step_is_in_the_metrics_once(trained):
    assert list(flow.read_metric(trained, "loss")) == list(range(1, STEPS + 1))


def test_the_checkpoint_opens_in_transformers_and_generates(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained / str(STEPS))
    model = AutoModelForCausalLM.from_pretrained(trained / str(STEPS))
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What colour is the ball?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    ids = model.generate(**prompt, max_new_tokens=8, do_sample=False)
    assert 1 <= ids.shape[1] - prompt["input_ids"].shape[1] <= 8


def test_the_checkpoint_has_every_weight_of_the_model_and_all_have_moved(folder, trained):
    before = AutoModelForCausalLM.from_pretrained(folder / "model").state_dict()
    after = AutoModelForCausalLM.from_pretrained(trained / str(STEPS)).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.isfinite(after[name]).all() for name in after)
    assert not [name for name in before if torch.equal(before[name], after[name])]


def test_one_process_writes_the_same_bits_as_two_stages(folder, trained):
    checkpoint = folder / "one_process"
    flow.train(1, 1, *flags(folder, checkpoint))
    assert flow.read_metric(checkpoint, "loss") == flow.read_metric(trained, "loss")
    one = AutoModelForCausalLM.from_pretrained(checkpoint / str(STEPS)).state_dict()
    two = AutoModelForCausalLM.from_pretrained(trained / str(STEPS)).state_dict()
    assert not [name for name in one if not torch.equal(one[name], two[name])]


def test_a_run_resumes_on_replicas_with_the_same_losses(folder, trained):
    checkpoint = folder / "resumed"
    resume = ("--resume_ckpt", trained, "--tag", "6")
    flow.train(2, 1, *flags(folder, checkpoint, *resume))
    expected, losses = flow.read_metric(trained, "loss"), flow.read_metric(checkpoint, "loss")
    assert list(losses) == list(range(7, STEPS + 1))
    assert losses == pytest.approx({step: expected[step] for step in losses}, rel=1e-6)


def test_pretraining_text_trains_too(folder):
    documents = [f"The {thing} is old.\nIt is here." for thing in flow.THINGS * 20]
    (folder / "text.txt").write_text("\n\n".join(documents) + "\n")
    ids, checkpoint = folder / "ids/text", folder / "pretrained"
    flow.convert(folder / "text.txt", folder / "model", ids, "--type", "pretrain", "--stack")
    parts = ("--train_data", ids, "--max_steps", "4", "--only_ckpt_model", "--init")
    flow.train(2, 2, "--model", folder / "model", "--checkpoint", checkpoint, *parts)
    losses = flow.read_metric(checkpoint, "loss")
    assert losses[4] < losses[1]
    assert not (checkpoint / "4/trainer").exists()
