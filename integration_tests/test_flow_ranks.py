"""The whole flow by its real commands: chats → token ids → pipeline training → Transformers."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import flow_helpers as flow

STEPS = 12


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
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


def flags(workplace, checkpoint, *more):
    return (
        *("--model", workplace / "model", "--train_data", workplace / "ids/train"),
        *("--eval_data", workplace / "ids/eval", "--global_batch_size", "8"),
        *("--max_steps", str(STEPS), "--learning_rate", "3e-3", "--lr_scheduler_type", "linear"),
        *("--checkpoint", checkpoint, "--steps_per_checkpoint", "6", *more),
    )


@pytest.fixture(scope="module")
def trained(workplace):
    """The checkpoints of a run on two pipeline stages."""
    checkpoint = workplace / "two_stages"
    flow.train(2, 2, *flags(workplace, checkpoint))
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


def test_the_checkpoint_has_every_weight_of_the_model_and_all_have_moved(workplace, trained):
    before = AutoModelForCausalLM.from_pretrained(workplace / "model").state_dict()
    after = AutoModelForCausalLM.from_pretrained(trained / str(STEPS)).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.isfinite(after[name]).all() for name in after)
    assert not [name for name in before if torch.equal(before[name], after[name])]


def test_one_process_writes_the_same_bits_as_two_stages(workplace, trained):
    checkpoint = workplace / "one_process"
    flow.train(1, 1, *flags(workplace, checkpoint))
    assert flow.read_metric(checkpoint, "loss") == flow.read_metric(trained, "loss")
    one = AutoModelForCausalLM.from_pretrained(checkpoint / str(STEPS)).state_dict()
    two = AutoModelForCausalLM.from_pretrained(trained / str(STEPS)).state_dict()
    assert not [name for name in one if not torch.equal(one[name], two[name])]


def test_a_run_resumes_on_replicas_with_the_same_losses(workplace, trained):
    checkpoint = workplace / "resumed"
    resume = ("--resume_ckpt", trained, "--tag", "6")
    flow.train(2, 1, *flags(workplace, checkpoint, *resume))
    expected, losses = flow.read_metric(trained, "loss"), flow.read_metric(checkpoint, "loss")
    assert list(losses) == list(range(7, STEPS + 1))
    assert losses == pytest.approx({step: expected[step] for step in losses}, rel=1e-6)


def test_pretraining_text_trains_too(workplace):
    documents = [f"The {thing} is old.\nIt is here." for thing in flow.THINGS * 20]
    (workplace / "text.txt").write_text("\n\n".join(documents) + "\n")
    ids, checkpoint = workplace / "ids/text", workplace / "pretrained"
    flow.convert(workplace / "text.txt", workplace / "model", ids, "--type", "pretrain", "--stack")
    parts = ("--train_data", ids, "--max_steps", "4", "--only_ckpt_model", "--init")
    flow.train(2, 2, "--model", workplace / "model", "--checkpoint", checkpoint, *parts)
    losses = flow.read_metric(checkpoint, "loss")
    assert losses[4] < losses[1]
    assert not (checkpoint / "4/trainer").exists()
