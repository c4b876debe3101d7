"""Conditions of a chat template whose truth follows from the roles of the dialogue.

`message.role == "tool"` is false where no message comes from a tool; `message.tool_calls` is always
undefined (messages have a role and a content only); `message.content is string` is always true;
`'</think>' in message.content` is false for every content that meets a guard.
"""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import nodes

from jllm.data.chat.jinja_ast import key_of

TYPE_TESTS = {
    "string": True,
    "defined": True,
    "iterable": True,
    "sequence": True,
    "undefined": False,
    "none": False,
    "mapping": False,
    "number": False,
    "boolean": False,
}
"""Tests whose result is the same for every string."""
UNDEFINED_TESTS = {
    name: name == "undefined" for name in TYPE_TESTS if name not in ("iterable", "sequence")
}
"""The same for a key that a message does not have (an undefined value is iterable)."""


class Conditions:
    """Evaluates conditions where certain; `bind` sets the role of a loop variable's message."""

    def __init__(
        self,
        roles: frozenset[str],
        is_message: Callable[[nodes.Node], bool],
        guarded: Callable[[nodes.Node, str, str], bool],
    ) -> None:
        """`guarded(node, test, text)` adds a guard if the node is a content; returns whether so."""
        self._roles = roles
        self._bound: dict[str, str] = {}
        self._is_message = is_message
        self._guarded = guarded

    def bind(self, name: str, role: str | None) -> None:
        """Set the role of the message in the variable `name` from here on (None: any role)."""
        if role is None:
            self._bound.pop(name, None)
        else:
            self._bound[name] = role

    def truth(self, node: nodes.Node) -> bool | None:
        """Return True or False where the truth is certain, else None."""
        match node:
            case nodes.Const():
                return bool(node.value)
            case nodes.Not():
                inner = self.truth(node.node)
                return None if inner is None else not inner
            case nodes.And():
                return self._both(node.left, node.right, short=False)
            case nodes.Or():
                return self._both(node.left, node.right, short=True)
            case nodes.Compare():
                return self._compare(node)
            case nodes.Test():
                return self._type_test(node)
            case nodes.Getattr() | nodes.Getitem():
                return self._member(node)
            case nodes.Call():
                return self._call(node)
        return None

    def _both(self, left: nodes.Node, right: nodes.Node, *, short: bool) -> bool | None:
        """Return the truth of `and` (short=False) or `or` (short=True).

        A side that is `short` decides alone.
        """
        first = self.truth(left)
        if first is short:
            return short
        second = self.truth(right)
        return short if second is short else second if first is not None else None

    def _compare(self, node: nodes.Compare) -> bool | None:
        if len(node.ops) != 1:
            return None
        operator, left, right = node.ops[0].op, node.expr, node.ops[0].expr
        if operator in ("in", "notin"):
            found = self._contains(left, right)
            return None if found is None else found is (operator == "in")
        if operator not in ("eq", "ne"):
            return None
        for role, value in ((left, right), (right, left)):
            possible = self._possible_roles(role)
            if possible is not None and isinstance(value, nodes.Const):
                equal = self._one_of(possible, {value.value})
                return None if equal is None else equal is (operator == "eq")
        return None

    def _contains(self, item: nodes.Node, where: nodes.Node) -> bool | None:
        possible = self._possible_roles(item)
        if possible is not None and isinstance(where, nodes.List | nodes.Tuple):
            if all(isinstance(choice, nodes.Const) for choice in where.items):
                return self._one_of(possible, {choice.as_const() for choice in where.items})
            return None
        if not (isinstance(item, nodes.Const) and isinstance(item.value, str)):
            return None
        if self._is_message(where):
            return False if item.value not in ("role", "content") else None
        return False if item.value and self._guarded(where, "lacks", item.value) else None

    def _type_test(self, node: nodes.Test) -> bool | None:
        if node.args or node.name not in TYPE_TESTS:
            return None
        if isinstance(node.node, nodes.Getattr | nodes.Getitem):
            key = key_of(node.node)
            if isinstance(key, str) and self._is_message(node.node.node):
                if key in ("role", "content"):
                    return TYPE_TESTS[node.name]
                return None if hasattr(dict, key) else UNDEFINED_TESTS.get(node.name)
        return None

    def _member(self, node: nodes.Getattr | nodes.Getitem) -> bool | None:
        """Return the truth of `message.key` itself: undefined keys are false."""
        key = key_of(node)
        if not isinstance(key, str) or not self._is_message(node.node):
            return None
        if key == "content":
            return True if self._guarded(node, "not blank", "") else None
        known = key == "role" or hasattr(dict, key) or hasattr(list, key)
        return None if known else False

    def _call(self, node: nodes.Call) -> bool | None:
        """Return False for `content.startswith('x')`, `endswith`, under the guard "lacks x"."""
        callee = node.node
        if not isinstance(callee, nodes.Getattr) or callee.attr not in ("startswith", "endswith"):
            return None
        if len(node.args) != 1 or node.kwargs or not isinstance(node.args[0], nodes.Const):
            return None
        text = node.args[0].value
        if isinstance(text, str) and text and self._guarded(callee.node, "lacks", text):
            return False
        return None

    def _possible_roles(self, node: nodes.Node) -> frozenset[str] | None:
        """Return the values that `message.role` may have; None when `node` is something else."""
        if not isinstance(node, nodes.Getattr | nodes.Getitem) or key_of(node) != "role":
            return None
        if not self._is_message(node.node):
            return None
        if isinstance(node.node, nodes.Name) and node.node.name in self._bound:
            return frozenset({self._bound[node.node.name]})
        return self._roles

    @staticmethod
    def _one_of(possible: frozenset[str], values: set[object]) -> bool | None:
        if not possible & values:
            return False
        return True if possible <= values else None
