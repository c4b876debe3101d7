"""Text out of tokens as they come, none of it taken back.

A token may end within a character, and the text of some tokens depends on those before. So a piece
is the difference that a token makes to the text of the last few, held back while it ends in U+FFFD,
which stands for an unfinished character.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

UNFINISHED = "\ufffd"
CONTEXT = 8
"""Tokens of the prompt that the text of the first token may depend on."""


def stream_text(
    tokens: Iterable[int], text: Callable[[Sequence[int]], str], prompt: Sequence[int] = ()
) -> Iterator[str]:
    """Yield pieces whose sum is the text of all tokens after a prompt; `text` decodes ids."""
    context, pending = list(prompt[-CONTEXT:]), []
    for token in tokens:
        pending.append(token)
        before, now = text(context), text(context + pending)
        if len(now) > len(before) and not now.endswith(UNFINISHED):
            yield now[len(before) :]
            context, pending = pending, []
    if rest := text(context + pending)[len(text(context)) :]:
        yield rest
