"""Ask one or more Hugging Face model directories a question with Transformers alone.

Imports nothing of jllm, so the answer is what any other program would get from the same directory.
Greedy decoding; about 10 s a model of 135 M parameters on two cores.

    python tools/quickstart/ask.py quickstart_out/model quickstart_out/checkpoint/20
"""

import argparse
import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

QUESTION = "What does `json.load` do?"


def ask(model_dir: Path, question: str, max_new_tokens: int) -> str:
    """Open `model_dir` with `AutoModelForCausalLM` and return its answer to `question`."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["TQDM_DISABLE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)  # limited by memory; on a busy machine more threads are far slower
    if not (model_dir / "config.json").is_file():
        raise ValueError(f"{model_dir}: not a Hugging Face model directory (no config.json)")
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    ids = model.generate(**prompt, max_new_tokens=max_new_tokens, do_sample=False)
    return tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)


def find_reference(chats: Path, question: str) -> str:
    """Return the data set's answer to `question`, "" if it has none."""
    for line in chats.read_text(encoding="utf-8").splitlines():
        turns = json.loads(line)
        if isinstance(turns, dict):
            turns = [{turn["role"]: turn["content"]} for turn in turns["messages"]]
        if turns[0].get("user") == question:
            return turns[1]["assistant"]
    return ""


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", help="Hugging Face model directories")
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--chats", type=Path, help="jsonl file that may hold the right answer")
    parser.add_argument("--max_new_tokens", type=int, default=64)
    arguments = parser.parse_args()
    console = Console()
    try:
        console.print(f"[bold]{escape(arguments.question)}[/bold]")
        for model in arguments.models:
            reply = ask(model, arguments.question, arguments.max_new_tokens)
            console.print(Panel(escape(reply), title=escape(str(model)), title_align="left"))
        if arguments.chats and (text := find_reference(arguments.chats, arguments.question)):
            console.print(Panel(escape(text), title="the documentation", title_align="left"))
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
