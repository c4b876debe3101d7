"""A template is only filled in where that is proven to be the same as rendering it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from jllm.data.chat.refused import ChatRefused
from jllm.data.chat.static_analysis import Guard, guards_of
from jllm.data.chat.template import ChatTemplate
from tokenizer_helpers import DEEPSEEK, LLAMA3, QWEN2, QWEN3, SMOLLM2, TEMPLATES, toy_tokenizer

ROLES = frozenset({"system", "user", "assistant"})
LOOP = "{% for m in messages %}{% if m.role == 'user' %}BODY{% endif %}{% endfor %}"
SAFE = [
    "{{ m.content }}",
    "{{ m['content'] | trim }}{{ m.role | upper }}",
    "{{ m.content.strip() + '<|im_end|>' }}",
    "{% set x = m.content %}{{ x ~ '!' }}",
    "{% if loop.first and m.content is string %}{{ m.content }}{% endif %}",
    "{% if m.tool_calls %}{{ m.content | upper }}{% else %}{{ m.content }}{% endif %}",
    "{% if 'name' in m %}{{ m.content[0] }}{% endif %}{{ m.content }}",
    "{% if m.role in ['tool', 'ipython'] %}{{ m.content | tojson }}{% endif %}{{ m.content }}",
    "{{ m.content if m.content is string else (m.content | tojson) }}",
]
LOOKS = [
    "{{ m.content | upper }}",
    "{{ m.content | length }}",
    "{{ m.content[0] }}",
    "{{ m.content | tojson }}",
    "{% if m.content == 'a' %}x{% endif %}{{ m.content }}",
    "{% if m.content | length > 3 %}x{% endif %}{{ m.content }}",
    "{% set x = m.content %}{% if x %}y{% endif %}{{ x }}",
    "{% set x = '' %}{% if loop.first %}{% set x = m.content %}{% endif %}{{ x | trim }}",
    "{% set x = 'a' + m.content %}{% if 'ab' in x %}y{% endif %}{{ x }}",
    "{{ ('a ' + m.content) | trim }}",
    "{% for k, v in m.items() %}{{ v }}{% endfor %}",
    "{% for c in m.content %}{{ c }}{% endfor %}",
    "{{ m | tojson }}",
    "{{ m.get('content') }}",
    "{% set f = m.get %}{{ f('content') }}",
    "{% for k in ['role', 'content'] %}{% if m[k] == 'a' %}x{% endif %}{% endfor %}",
    "{{ (m.content or 'x') | upper }}",
    "{{ ('x' and m.content) == 'a' }}",
    "{{ loop.previtem.content }}",
    "{% set ns = namespace(x=m.content) %}{% if ns.x == 'a' %}y{% endif %}",
    "{% set ns = namespace(x='') %}{% set ns.x = m.content %}{{ ns.x | upper }}",
    "{% macro f(x) %}{{ x | upper }}{% endmacro %}{{ f(m.content) }}",
    "{{ m.content.replace('a', 'b') }}",
    "{{ '%s' | format(m.content) }}",
    "{{ [m.content] | join }}",
    "{% set x %}{{ m.content }}{% endset %}{{ x | upper }}",
    "{% filter upper %}{{ m.content }}{% endfilter %}",
    "{% with x = m.content %}{{ x | upper }}{% endwith %}",
    "{{ messages | map(attribute='content') | join }}",
    "{% if messages[-1] == m %}x{% endif %}{{ m.content }}",
]


@pytest.mark.parametrize("body", SAFE)
def test_placing_a_content_is_recognised(body: str) -> None:
    assert guards_of(Environment().parse(LOOP.replace("BODY", body)), ROLES) == frozenset()


@pytest.mark.parametrize("body", LOOKS)
def test_looking_at_a_content_is_never_taken_for_placing_it(body: str) -> None:
    assert guards_of(Environment().parse(LOOP.replace("BODY", body)), ROLES) is None


@pytest.mark.parametrize(
    ("body", "guard"),
    [
        ("{% if '</think>' in m.content %}x{% endif %}", Guard(test="lacks", text="</think>")),
        ("{% if not m.content.startswith('/') %}x{% endif %}", Guard(test="lacks", text="/")),
        ("{% if m.content %}x{% endif %}{{ m.content }}", Guard(test="not blank")),
        ("{{ m.content.lstrip('\n') }}", Guard(test="unstripped by", text="\n", method="lstrip")),
    ],
)
def test_what_a_template_looks_for_becomes_a_guard(body: str, guard: Guard) -> None:
    assert guards_of(Environment().parse(LOOP.replace("BODY", body)), ROLES) == {guard}


def test_well_known_templates_are_filled_in() -> None:
    for template in (SMOLLM2, LLAMA3, QWEN2, DEEPSEEK):
        assert guards_of(Environment().parse(template), ROLES) == frozenset()
    guards = guards_of(Environment().parse(QWEN3), ROLES)
    assert guards is not None and Guard(test="lacks", text="</think>") in guards
    tools = frozenset({"user", "assistant", "tool"})
    assert guards_of(Environment().parse(LLAMA3), tools) is None


CONTENT = st.text(st.sampled_from("a \n\t</think>é\u00a0\u2028x"), max_size=12) | st.sampled_from(
    ["</think>", "<think>\na\n</think>\n\nb", "<tool_response>x</tool_response>", "", " ", "\n"]
)


@pytest.mark.parametrize("name", TEMPLATES)
def test_filling_in_gives_the_text_that_rendering_gives(name: str) -> None:
    template = ChatTemplate(tokenizer=toy_tokenizer(name))
    filled_in = []

    @settings(max_examples=150, deadline=None)
    @given(contents=st.lists(CONTENT, min_size=2, max_size=5))
    def check(contents: list[str]) -> None:
        roles = ["system"] * (len(contents) % 2) + ["user", "assistant"] * 2
        messages = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
        try:
            examples = template.examples(messages)
        except ChatRefused as why:
            assert name == "qwen3" and why.reason == "no answer in the text"
            return
        filled_in.append(bool(examples[0].contents))
        texts = [one.whole() for one in examples]
        whole = template.render(messages, prompt=False)
        turns = [
            template.render(messages[: n + 1], prompt=False)
            for n, message in enumerate(messages)
            if message["role"] == "assistant"
        ]
        end = TEMPLATES[name][2]
        same = all(whole.startswith(turn[: turn.rindex(end) + len(end)]) for turn in turns)
        assert texts == turns or (same and texts == [whole])

    check()
    assert any(filled_in)
