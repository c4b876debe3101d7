"""What the tests of the whole flow share: a tiny model and tokenizer, chats, commands to run."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

REPOSITORY = Path(__file__).parents[1]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
COLOURS = ("red", "green", "blue", "white", "black", "grey")
THINGS = ("ball", "house", "river", "stone", "bird", "lamp", "tree", "cloud")


def make_chats(path: Path, count: int, seed: int) -> None:
    """Writes `count` chats, every second one in the `messages` format."""
    draw = random.Random(seed)
    lines = []
    for number in range(count):
        thing, colour = draw.choice(THINGS), draw.choice(COLOURS)
        question, answer = f"What colour is the {thing}?", f"The {thing} is {colour}."
        turns: object = [{"user": question}, {"assistant": answer}]
        if number % 2:
            roles = (
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            )
            turns = {"messages": list(roles)}
        lines.append(json.dumps(turns))
    path.write_text("\n".join(lines) + "\n")


def make_tokenizer(folder: Path, texts: list[str]) -> PreTrainedTokenizerFast:
    """Trains a byte-level tokenizer of 400 ids with a chat template and saves it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return fast


def make_model(folder: Path, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Saves a random Llama of 4 layers and tied embeddings that fits the tokenizer."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return model


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    """Runs `python ARGUMENTS` as a process of its own and returns what it printed."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TERM": "dumb",
        "COLUMNS": "200",
    }
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)


def run_right(*arguments: str | Path) -> str:
    """Runs `python ARGUMENTS`, demands success and returns the standard output."""
    done = run(*arguments)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def convert(source: Path, model: Path, out: Path, *flags: str) -> None:
    """Runs jllm.raw2ids with rows of 64 positions."""
    command = ("-m", "jllm.raw2ids", "--tokenizer", model, "-i", source, "-o", out)
    run_right(*command, "--max_len", "65", *flags)


def train(processes: int, stages: int, *flags: str | Path) -> None:
    """Runs jllm.train_pipe under torchrun with so many processes and stages."""
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--standalone")
    command = ("-m", "jllm.train_pipe", "--pipe_parallel_size", str(stages), *flags)
    run_right(*launcher, *command)


def read_metric(checkpoint: Path, name: str) -> dict[int, float]:
    """Returns step → value of one metric of a run."""
    lines = [json.loads(line) for line in (checkpoint / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}
