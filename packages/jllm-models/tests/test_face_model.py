"""`jllm.models.load` gives a model whose loss, logits and texts are those of the other ways."""

import pytest
import torch

import jllm.models as jm
from generation_helpers import byte_tokenizer, write_chat_model
from jllm.models.generation.command import run
from own_code_helpers import write_model
from tiny_model_helpers import (
    one_document,
    random_targets,
    random_tokens,
    reference_loss,
    reference_model,
    relative_error,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    write_chat_model(path)
    return path


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_loss_gradient_and_logits_are_those_of_transformers(name, tmp_path):
    theirs = reference_model(name)
    theirs.save_pretrained(tmp_path)
    ours = jm.load(tmp_path)
    tokens, targets = random_tokens(24), random_targets(24)
    loss, expected = ours.loss(tokens, targets), reference_loss(theirs, tokens, targets)
    assert relative_error(loss, expected) <= 1e-5
    loss.backward()
    expected.backward()
    found = ours.module.units["0"].weight.grad
    assert relative_error(found, theirs.get_input_embeddings().weight.grad) <= 1e-4
    logits = theirs(input_ids=tokens[None]).logits[0]
    assert relative_error(ours.logits(tokens), logits) <= 1e-5


def test_documents_do_not_see_each_other(directory):
    model = jm.load(directory)
    tokens, targets = random_tokens(9), random_targets(9)
    parts = [model.loss(tokens[a:b], targets[a:b]) for a, b in ((0, 4), (4, 9))]
    both = model.loss(tokens.tolist(), targets.numpy(), [0, 4, 9])
    assert relative_error(both, sum(parts)) <= 1e-6
    assert both != model.loss(tokens, targets)
    assert torch.equal(model.loss(tokens, targets, one_document(9)), model.loss(tokens, targets))


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ((), {}),
        (("--no_chat",), {"chat": False}),
        (
            ("--temperature", "1.5", "--top_k", "40", "--top_p", "0.9", "--seed", "3"),
            {"temperature": 1.5, "top_k": 40, "top_p": 0.9, "seed": 3},
        ),
    ],
)
def test_a_text_is_that_of_the_command(directory, capsys, flags, options):
    assert run(["--model", str(directory), "--prompt", "Hi", "--max_new_tokens", "12", *flags]) == 0
    expected = capsys.readouterr().out
    found = jm.load(directory).generate("Hi", max_new_tokens=12, **options)
    assert found + "\n" == expected
    assert capsys.readouterr() == ("", "")


def test_ids_give_the_ids_that_transformers_gives(directory):
    from transformers import AutoModelForCausalLM

    theirs, ids = AutoModelForCausalLM.from_pretrained(directory), random_tokens(5)
    expected = theirs.generate(
        ids[None], max_new_tokens=12, do_sample=False, pad_token_id=0, eos_token_id=256
    )[0, 5:]
    model = jm.load(directory)
    assert model.generate(ids, max_new_tokens=12) == expected.tolist()
    assert model.generate(ids.tolist(), max_new_tokens=12) == expected.tolist()


@pytest.mark.parametrize("name", ["llama", "deepseek-v3", "baichuan2-7b"])
def test_generating_leaves_the_model_as_it_was_and_sees_what_was_trained(name, tmp_path):
    write_model(name, tmp_path)
    model, untouched = jm.load(tmp_path), jm.load(tmp_path)
    tokens, targets = random_tokens(12), random_targets(12)
    before = model.generate(tokens, max_new_tokens=3)
    loss = model.loss(tokens, targets)
    assert torch.equal(loss, untouched.loss(tokens, targets))
    loss.backward()
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.sub_(parameter.grad)
    expected = jm.load(tmp_path)
    expected.module.load_state_dict(model.module.state_dict())
    after = model.generate(tokens, max_new_tokens=3)
    assert after == expected.generate(tokens, max_new_tokens=3)
    assert after != before


def test_the_value_says_what_it_is(directory):
    model = jm.load(directory, dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16 and str(model.device) == "cpu"
    assert model.config.vocab_size == 259
    assert model.tokenizer.text(byte_tokenizer()("hé")["input_ids"]) == "hé"
    count = sum(p.numel() for p in reference_model("llama", vocab_size=259).parameters())
    assert f"{count:,} parameters, bfloat16 on cpu" in repr(model)
    assert "load" in dir(jm)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.loss([[1, 2]], [1, 2]), "tokens: expected whole numbers"),
        (lambda m: m.loss([1.0], [1]), "tokens: expected whole numbers"),
        (lambda m: m.loss([1, 259], [1, 2]), "tokens: 259 is no id"),
        (lambda m: m.loss([1, 2], [1, -1]), "targets: -1 is no id"),
        (lambda m: m.loss([1, 2, 3], [1, -100, -1]), "targets: -1 is no id"),
        (lambda m: m.loss([1, 2], [1]), "targets: 1, expected as many"),
        (lambda m: m.logits([1, 2], [0, 1]), "documents: end at 1"),
        (lambda m: m.logits([1, 2], [0, 0, 2]), "documents: "),
        (lambda m: m.logits([]), "tokens: expected whole numbers"),
        (lambda m: m.generate(""), "prompt holds no token"),
        (lambda m: m.generate("x", max_new_tokens=0), "max_new_tokens must be at least 1"),
        (lambda m: m.generate("x", temperature=-1), "^temperature must be 0 or more"),
        (lambda m: m.generate("x", top_p=0.5), "^top_k and top_p restrict"),
        (lambda m: m.generate([300]), "prompt: 300 is no id"),
    ],
)
def test_a_wrong_argument_is_named(directory, call, words):
    with pytest.raises(ValueError, match=words):
        call(jm.load(directory))


def test_wrong_places_are_named(directory, tmp_path):
    with pytest.raises(ValueError, match="config.json"):
        jm.load(tmp_path)
    with pytest.raises(ValueError, match="dtype is int8, expected one of"):
        jm.load(directory, dtype="int8")
    with pytest.raises(ValueError, match="device nowhere"):
        jm.load(directory, device="nowhere")
