"""Decoding tokens to text as they arrive, without ever changing earlier text.

A token may end within a character, and the text of some tokens depends on those before. A piece is
therefore the difference that a token makes to the text of the last few tokens. It is held back
while it ends in U+FFFD, which stands for an unfinished character.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

UNFINISHED = "\ufffd"
CONTEXT = 8
"""Number of tokens at the end of the prompt on which the text of the first token may depend."""


def stream_text(
    tokens: Iterable[int], text: Callable[[Sequence[int]], str], prompt: Sequence[int] = ()
) -> Iterator[str]:
    """Yield pieces of text that together are the text of all tokens; `text` decodes ids."""
    context, pending = list(prompt[-CONTEXT:]), []
    for token in tokens:
        pending.append(token)
        before, now = text(context), text(context + pending)
        if len(now) > len(before) and not now.endswith(UNFINISHED):
            yield now[len(before) :]
            context, pending = pending, []
    if rest := text(context + pending)[len(text(context)) :]:
        yield rest
