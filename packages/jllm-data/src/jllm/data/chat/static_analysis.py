"""Static analysis: does a chat template only *place* contents of messages, or inspect them?

If the template only outputs contents (or joins them to other output), verbatim or trimmed, the
rendered text consists of constants, which depend on the roles alone, and of the contents. Such a
template is rendered once for each sequence of roles; later dialogues are filled in. Where it tests
a content in a way that a `Guard` can answer beforehand (Qwen3: `'</think>' in content`), this holds
for all contents that meet the guard. Everything else has to be rendered for every dialogue.

The answer is a proof, not a guess: an abstract interpretation of the template's syntax tree that
gives up on anything it does not know. Messages have only the keys "role" and "content", both
strings; branches that the given roles cannot reach are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from jinja2 import nodes

from jllm.data.chat.jinja_ast import constant_of, is_generation, is_index, key_of
from jllm.data.chat.static_conditions import Conditions

STRIPS = ("strip", "lstrip", "rstrip")


class Kind(IntEnum):
    """What a value may depend on; joining two values gives the larger kind."""

    CLEAN = 0
    """The roles, their number and the template's variables, but no content."""
    RAW = 1
    """Exactly one content, verbatim or trimmed."""
    MIXED = 2
    """Text that may hold contents: it may only be output."""
    MESSAGES = 3
    """A message, or messages."""


class Inspects(Exception):
    """The template uses a content in a way that depends on its value."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A condition on a content: `test` is "lacks", "unstripped by" or "not blank"."""

    test: str
    text: str = ""
    method: str = ""

    def holds(self, content: str) -> bool:
        """Return whether a content meets the condition, verbatim and trimmed."""
        if self.test == "lacks":
            return self.text not in content
        if self.test == "not blank":
            return bool(content.strip())
        return all(
            getattr(value, self.method)(self.text) == value for value in (content, content.strip())
        )


def guards_of(tree: nodes.Template, roles: frozenset[str]) -> frozenset[Guard] | None:
    """Return the guards under which the output is only constants and contents; None: unknown.

    `tree`: the parsed template. `roles`: those that occur in the dialogue.
    """
    kinds = {"messages": Kind.MESSAGES}
    guards: set[Guard] = set()
    while True:
        before = dict(kinds)
        try:
            _Interpreter(kinds, guards, roles).statements(tree.body)
        except Inspects:
            return None
        if kinds == before:
            return frozenset(guards)


class _Interpreter:
    """One pass over the statements; the kinds of names and namespace attributes only rise."""

    def __init__(self, kinds: dict[str, Kind], guards: set[Guard], roles: frozenset[str]) -> None:
        self._kinds = kinds
        self._guards = guards
        self._conditions = Conditions(roles, self._is_message, self._guarded)
        self._roles = roles

    def statements(self, body: list[nodes.Node]) -> None:
        for node in body:
            self._statement(node)

    def _statement(self, node: nodes.Node) -> None:
        match node:
            case nodes.Output():
                for part in node.nodes:
                    self._text(part)
            case nodes.If():
                self._if(node)
            case nodes.For():
                self._for(node)
            case nodes.Assign():
                self._assign(node.target, self._kind(node.node))
            case nodes.CallBlock() if is_generation(node):
                self.statements(node.body)
            case nodes.Continue() | nodes.Break():
                pass
            case _:
                raise Inspects

    def _if(self, node: nodes.If) -> None:
        rest: list[nodes.Node] = [*node.elif_]
        truth = self._test(node.test)
        if truth is not False:
            self.statements(node.body)
        if truth is not True:
            if rest:
                first, others = rest[0], rest[1:]
                assert isinstance(first, nodes.If)
                self._if(nodes.If(first.test, first.body, others, node.else_))
            else:
                self.statements(node.else_)

    def _for(self, node: nodes.For) -> None:
        kind = self._kind(node.iter)
        _require(kind in (Kind.CLEAN, Kind.MESSAGES) and not node.recursive)
        self._assign(node.target, kind)
        name = node.target.name if isinstance(node.target, nodes.Name) else ""
        for role in sorted(self._roles) if kind == Kind.MESSAGES else [None]:
            self._conditions.bind(name, role)
            if node.test is None or self._test(node.test) is not False:
                self.statements(node.body)
        self._conditions.bind(name, None)
        self.statements(node.else_)

    def _assign(self, target: nodes.Node, kind: Kind) -> None:
        if not isinstance(target, nodes.Name | nodes.NSRef):
            return _require(kind == Kind.CLEAN)
        name = target.name if isinstance(target, nodes.Name) else f".{target.attr}"
        self._conditions.bind(name, None)
        known = self._kinds.get(name, kind)
        if {known, kind} == {Kind.CLEAN, Kind.RAW}:
            kind = Kind.MIXED
        _require(Kind.MESSAGES not in (kind, known) or kind == known)
        self._kinds[name] = max(known, kind)

    def _text(self, node: nodes.Node) -> Kind:
        kind = self._kind(node)
        _require(kind != Kind.MESSAGES)
        return kind

    def _clean(self, node: nodes.Node) -> None:
        _require(self._kind(node) == Kind.CLEAN)

    def _test(self, node: nodes.Node) -> bool | None:
        """Return a condition's truth where certain; otherwise it must not depend on a content."""
        truth = self._conditions.truth(node)
        if truth is None:
            match node:
                case nodes.And() | nodes.Or():
                    self._test(node.left)
                    self._test(node.right)
                case nodes.Not():
                    self._test(node.node)
                case nodes.Name(name="messages"):
                    pass
                case _:
                    self._clean(node)
        return truth

    def _kind(self, node: nodes.Node) -> Kind:
        match node:
            case nodes.Name():
                return self._kinds.get(node.name, Kind.CLEAN)
            case nodes.Getitem() | nodes.Getattr():
                return self._member(node)
            case nodes.Add():
                return self._joined([node.left, node.right])
            case nodes.Concat():
                return self._joined(node.nodes)
            case nodes.Filter():
                return self._filter(node)
            case nodes.CondExpr():
                return self._either(node)
            case nodes.Call():
                return self._call(node)
            case nodes.And() | nodes.Or():
                return self._operand(node)
            case nodes.Compare() | nodes.Not() | nodes.Test():
                if self._conditions.truth(node) is not None:
                    return Kind.CLEAN
        for child in node.iter_child_nodes():
            self._clean(child)
        return Kind.CLEAN

    def _joined(self, parts: list[nodes.Expr]) -> Kind:
        return Kind.MIXED if max(self._text(part) for part in parts) > Kind.CLEAN else Kind.CLEAN

    def _operand(self, node: nodes.And | nodes.Or) -> Kind:
        """Return the kind of `a and b` or `a or b`.

        That is the kind of the side whose value it takes, where that is known; otherwise both must
        be clean."""
        truth = self._conditions.truth(node.left)
        if truth is not None:
            return self._kind(node.left if truth is isinstance(node, nodes.Or) else node.right)
        self._clean(node.left)
        self._clean(node.right)
        return Kind.CLEAN

    def _either(self, node: nodes.CondExpr) -> Kind:
        truth = self._test(node.test)
        kinds = [self._kind(node.expr1)] if truth is not False else []
        if truth is not True and node.expr2 is not None:
            kinds.append(self._kind(node.expr2))
        if set(kinds) == {Kind.CLEAN, Kind.RAW}:
            return Kind.MIXED
        _require(Kind.MESSAGES not in kinds or len(set(kinds)) == 1)
        return max(kinds, default=Kind.CLEAN)

    def _member(self, node: nodes.Getitem | nodes.Getattr) -> Kind:
        """Return the kind of an item or attribute: `message['content']`, `messages[0]`, `ns.x`."""
        key = key_of(node)
        kind = self._kind(node.node)
        if kind == Kind.MESSAGES:
            if key == "content":
                return Kind.RAW
            if isinstance(key, str):
                _require(not hasattr(dict, key) and not hasattr(list, key))
                return Kind.CLEAN
            _require(isinstance(node, nodes.Getitem) and is_index(node.arg))
            return Kind.MESSAGES
        _require(kind == Kind.CLEAN and key not in ("previtem", "nextitem", "changed"))
        if isinstance(node, nodes.Getitem):
            self._clean(node.arg)
        return self._kinds.get(f".{key}", Kind.CLEAN)

    def _filter(self, node: nodes.Filter) -> Kind:
        if node.node is None:
            raise Inspects
        kind = self._kind(node.node)
        plain = not (node.args or node.kwargs or node.dyn_args or node.dyn_kwargs)
        if kind == Kind.RAW and node.name in ("trim", "string") and plain:
            return Kind.RAW
        if kind == Kind.MESSAGES and plain:
            _require(node.name in ("length", "count", "list", "first", "last", "reverse"))
            return Kind.CLEAN if node.name in ("length", "count") else Kind.MESSAGES
        for child in node.iter_child_nodes():
            self._clean(child)
        return Kind.CLEAN

    def _call(self, node: nodes.Call) -> Kind:
        callee = node.node
        _require(not (node.dyn_args or node.dyn_kwargs))
        if isinstance(callee, nodes.Getattr) and callee.attr in STRIPS and not node.kwargs:
            kind = self._kind(callee.node)
            if kind == Kind.RAW and not node.args and callee.attr == "strip":
                return Kind.RAW
            if kind == Kind.RAW and node.args and isinstance(constant_of(node.args[0]), str):
                text = str(constant_of(node.args[0]))
                self._guards.add(Guard(test="unstripped by", text=text, method=callee.attr))
                return Kind.RAW
        if isinstance(callee, nodes.Name) and callee.name == "namespace" and not node.args:
            for pair in node.kwargs:
                self._assign(nodes.NSRef("", pair.key), self._kind(pair.value))
            return Kind.CLEAN
        if self._conditions.truth(node) is not None:
            return Kind.CLEAN
        for child in node.iter_child_nodes():
            self._clean(child)
        return Kind.CLEAN

    def _is_message(self, node: nodes.Node) -> bool:
        return self._kind(node) == Kind.MESSAGES

    def _guarded(self, node: nodes.Node, test: str, text: str) -> bool:
        """Add a guard on the content that `node` is; False when it is not certainly a content."""
        direct = isinstance(node, nodes.Getattr | nodes.Getitem)
        if self._kind(node) != Kind.RAW or (test == "not blank" and not direct):
            return False
        self._guards.add(Guard(test=test, text=text))
        return True


def _require(holds: bool) -> None:
    if not holds:
        raise Inspects
