"""The syntax tree of a chat template, and facts about single nodes: constants, keys, indexes."""

from __future__ import annotations

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser


def is_generation(node: nodes.CallBlock) -> bool:
    """Return whether it is a `{% generation %}` block, which outputs its body unchanged."""
    callee = node.call.node
    return isinstance(callee, nodes.ExtensionAttribute) and callee.name == "_generation_support"


def constant_of(node: nodes.Node) -> object:
    """Return the value of a constant; None for everything else."""
    return node.value if isinstance(node, nodes.Const) else None


def is_index(node: nodes.Node) -> bool:
    """Return whether an item's key is certainly a number or a slice."""
    match node:
        case nodes.Slice() | nodes.Sub() | nodes.Neg():
            return True
        case nodes.Const():
            return isinstance(node.value, int)
        case nodes.Add():
            return any(isinstance(constant_of(side), int) for side in (node.left, node.right))
        case nodes.Getattr():
            return isinstance(node.node, nodes.Name) and node.node.name == "loop"
    return False


def key_of(node: nodes.Getattr | nodes.Getitem) -> object:
    """Return the key of `value.key` or `value['key']`; None where it is not constant."""
    return node.attr if isinstance(node, nodes.Getattr) else constant_of(node.arg)


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}`, which Transformers adds to Jinja."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        """Return the block as a call of `_generation_support`, as Transformers does."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_generation_support"), [], [], body, lineno=line)


def parse_template(source: str) -> nodes.Template | None:
    """Return the template's syntax tree; None where it uses statements unknown to this parser."""
    try:
        return Environment(extensions=[_GenerationTag, loopcontrols]).parse(source)
    except TemplateSyntaxError:
        return None
