"""Text of ids is the tokenizer's; a search finds what a search in the decoded documents finds."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from convert_helpers import rows_of
from inspection_helpers import make_text
from jllm.data.reading.dataset import open_dataset
from jllm.data.tokenizer.load import wrap_tokenizer
from jllm.data.tools.inspect.cross_row_matches import occurrences
from jllm.data.tools.inspect.find import find_text
from jllm.data.tools.inspect.token_text import UNKNOWN, TokenText
from parquet_helpers import write_folder
from tokenizer_helpers import toy_tokenizer

TEXTS = [
    "中文 and needles",
    "nothing here",
    "a long one: " + "needle in a haystack, " * 40 + "中文的字 end",
    "aaaaaaaaaaaaaaaaaaaaa",
    "needleneedle",
]


def sentence_piece() -> TokenText:
    """Words with ▁ and bytes where there is no word, as Llama 2's."""
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁a", "▁needle", "s", "le", "▁"]
    core = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, [], byte_fallback=True))
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    return TokenText(wrap_tokenizer(PreTrainedTokenizerFast(tokenizer_object=core), "pieces"))


@given(st.lists(st.integers(0, 400), max_size=30), st.data())
def test_text_is_that_of_the_tokenizer_and_pieces_make_it_up(
    ids: list[int], data: st.DataObject
) -> None:
    tokenizer = toy_tokenizer("deepseek")
    text, array = TokenText(tokenizer), np.array(ids, np.int32)
    assert text.table is not None
    whole = tokenizer.core.decode(ids, skip_special_tokens=False)
    assert text.text(array) == whole
    inner = data.draw(st.lists(st.integers(0, len(ids)), max_size=3))
    pieces = text.pieces(array, sorted([0, *inner, len(ids)]))
    if "�" not in "".join(pieces):
        assert "".join(pieces) == whole


def test_an_id_that_is_no_token_is_shown_as_such() -> None:
    text = TokenText(toy_tokenizer("qwen2"))
    assert text.text(np.array([10**6], np.int32)) == UNKNOWN


def test_other_tokenizers_decode_whole_documents() -> None:
    text = sentence_piece()
    assert text.table is None
    ids = np.array([257, 258, 259, 1 + 0xE4, 1 + 0xB8, 1 + 0xAD], np.int32)
    assert text.text(ids) == "a needles中"
    assert text.pieces(ids, [0, 1, 2, 3, 6]) == ["a", " needle", "s", "中"]


@pytest.mark.parametrize("stack", [True, False])
@pytest.mark.parametrize("wanted", ["needle", "le in a hay", "文", "end", "aa", "<|im_end|>", "zz"])
def test_a_text_is_found_wherever_token_borders_fall(
    tmp_path: Path, wanted: str, stack: bool
) -> None:
    folder = make_text(tmp_path, TEXTS, stack=stack, max_len=29 if stack else 400)
    text = TokenText(toy_tokenizer("smollm2", "digits"))
    found: dict[int | None, int] = {}
    for hit in find_text(open_dataset(folder), wanted, text):
        assert hit.source == "data.jsonl"
        found[hit.record] = found.get(hit.record, 0) + hit.count
    documents = [text + "<|im_end|>" for text in TEXTS]
    expected = {
        line: len(occurrences(document.encode(), wanted.encode()))
        for line, document in enumerate(documents, 1)
    }
    assert found == {line: count for line, count in expected.items() if count}


@settings(max_examples=8, deadline=None)
@given(st.text(alphabet="abn 中", min_size=40, max_size=160), st.data())
def test_a_text_over_several_stacked_rows_is_found(
    tmp_path_factory: pytest.TempPathFactory, content: str, data: st.DataObject
) -> None:
    content = f"x{content}x"
    start = data.draw(st.integers(0, len(content) - 2))
    wanted = content[start : data.draw(st.integers(start + 2, len(content)))]
    folder = make_text(tmp_path_factory.mktemp("rows"), [content, "other"], stack=True, max_len=6)
    text = TokenText(toy_tokenizer("smollm2", "digits"))
    records = {hit.record for hit in find_text(open_dataset(folder), wanted, text)}
    assert 1 in records
    assert records <= ({1, 2} if wanted in "other<|im_end|>" else {1})


def test_documents_do_not_run_into_each_other(tmp_path: Path) -> None:
    text = TokenText(toy_tokenizer("smollm2", "digits"))
    a, b = (text.tokenizer.core.encode(t, add_special_tokens=False).ids for t in ("nee ", "dle x"))
    rows = [{"input_ids": [*a, *b], "cu_seqlens": [0, len(a), len(a) + len(b) - 1]}]
    folder = write_folder(tmp_path, {"a.parquet": rows}, max_len=99)
    dataset = open_dataset(folder)
    assert list(find_text(dataset, "nee dle", text)) == []
    (hit,) = find_text(dataset, "dle", text)
    assert (hit.row, hit.document, hit.record, hit.source) == (0, 1, None, "")
    assert len(rows_of(folder)) == 1


def test_an_empty_text_is_refused(tmp_path: Path) -> None:
    folder = make_text(tmp_path, ["a b c"], stack=False)
    with pytest.raises(ValueError, match="--find: the text is empty"):
        list(find_text(open_dataset(folder), "", TokenText(toy_tokenizer("smollm2", "digits"))))
