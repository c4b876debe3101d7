"""Ids and labels of a dialogue the slow, obvious way: render every turn, tokenise its parts."""

from typing import Any

Messages = list[dict[str, str]]


def by_hand(
    hf: Any, end_of_turn: str, messages: Messages, **variables: Any
) -> list[tuple[list[int], list[int]]]:
    """(ids, labels) of each document: prompt, answer and what lies between, each rendered and
    tokenised whole."""

    def render(until: int, *, prompt: bool) -> str:
        return hf.apply_chat_template(
            messages[:until], tokenize=False, add_generation_prompt=prompt, **variables
        )

    def example(whole: str, answers: list[int]) -> tuple[list[int], list[int]]:
        ids, labels, at = [], [], 0
        for number in answers:
            prompt = render(number, prompt=True)
            assert whole.startswith(prompt)
            upto = render(number + 1, prompt=False)
            stop = upto.rindex(end_of_turn) + len(end_of_turn)
            before = hf(whole[at : len(prompt)], add_special_tokens=False)["input_ids"]
            answer = hf(whole[len(prompt) : stop], add_special_tokens=False)["input_ids"]
            ids += before + answer
            labels += [-100] * len(before) + answer
            at = stop
        rest = hf(whole[at:], add_special_tokens=False)["input_ids"]
        return ids + rest, labels + [-100] * len(rest)

    def up_to_end_of_turn(number: int) -> str:
        text = render(number + 1, prompt=False)
        return text[: text.rindex(end_of_turn) + len(end_of_turn)]

    answers = [number for number, m in enumerate(messages) if m["role"] == "assistant"]
    whole = render(len(messages), prompt=False)
    if all(whole.startswith(up_to_end_of_turn(number)) for number in answers):
        together = example(whole, answers)
        served = [served_prompt(hf, messages[:number], **variables) for number in answers]
        if all(together[0][: len(prompt)] == prompt for prompt in served):
            return [together]
    return [example(render(number + 1, prompt=False), [number]) for number in answers]


def served_prompt(hf: Any, messages: Messages, **variables: Any) -> list[int]:
    """What the server gives the model that is to answer."""
    encoded = hf.apply_chat_template(messages, add_generation_prompt=True, **variables)
    return list(encoded["input_ids"])
