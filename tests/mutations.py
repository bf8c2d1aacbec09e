"""Small random changes of the code, for `python -m tests.mutants --random`.

Each replaces an operator or a constant, swaps two arguments, or drops a branch, a bound or a call.
The idea: DeMillo, Lipton and Sayward, "Hints on Test Data Selection", 1978.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

COMPARED: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
COUNTED: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*",
}  # fmt: skip
OPPOSITE = {"min": "max", "max": "min", "any": "all", "all": "any"}


def changes(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Each expression that can be changed, and its replacement."""
    ignored = {
        inner
        for node in ast.walk(tree)
        for outer in (getattr(node, "annotation", None), getattr(node, "returns", None), _unread(node))
        if outer
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if node in ignored:
            continue
        match node:
            case ast.Compare(left, [op], [right]) if type(op) in COMPARED:
                yield node, f"{ast.unparse(left)} {COMPARED[type(op)]} {ast.unparse(right)}"
            case ast.BinOp(left, op, right) if type(op) in COUNTED and not isinstance(left, ast.JoinedStr):
                yield node, f"({ast.unparse(left)} {COUNTED[type(op)]} {ast.unparse(right)})"
            case ast.BoolOp(op, values):
                other = " or " if isinstance(op, ast.And) else " and "
                yield node, f"({other.join(f'({ast.unparse(value)})' for value in values)})"
            case ast.UnaryOp(ast.Not(), operand):
                yield node, f"bool({ast.unparse(operand)})"
            case ast.IfExp(body=body):
                yield node, f"({ast.unparse(body)})"
            case ast.Constant(bool() as value):
                yield node, str(not value)
            case ast.Constant(int() | float() as value):
                yield node, repr(value + 1)
            case ast.Subscript(value, ast.Slice(), ast.Load()):
                yield node, ast.unparse(value)
            case ast.Call(ast.Name(name)) if name in OPPOSITE:
                yield node, f"{OPPOSITE[name]}({ast.unparse(node).split('(', 1)[1]}"
            case ast.Call(args=[ast.Name(first), ast.Name(second), *_]) if first != second:
                call = ast.parse(ast.unparse(node), mode="eval").body
                assert isinstance(call, ast.Call)
                call.args[:2] = [node.args[1], node.args[0]]
                yield node, ast.unparse(call)
            case ast.Expr(ast.Call() as call):
                yield call, "None"


def _unread(node: ast.AST) -> ast.expr | None:
    """The value of an argument of `zip` or of a dataclass that guards or saves memory."""
    if isinstance(node, ast.keyword) and node.arg in ("strict", "frozen", "slots"):
        return node.value
    return None


def sample(root: Path, files: Sequence[str], count: int, seed: int) -> list[tuple[str, str, str]]:
    """Draw `count` changes of the files below `root`: each is a file, lines that occur once, new lines."""
    texts = {file: (root / file).read_text(encoding="utf-8") for file in sorted(files)}
    found = [(file, *change) for file, text in texts.items() for change in changes(ast.parse(text))]
    drawn = random.Random(seed).sample(found, min(count, len(found)))
    return [(file, *_lines(texts[file], node, new)) for file, node, new in drawn]


def _lines(text: str, node: ast.expr, new: str) -> tuple[str, str]:
    """The lines of the expression, with enough around them that they occur once; then the same, changed."""
    lines = text.splitlines(keepends=True)
    first, last = node.lineno - 1, node.end_lineno or node.lineno
    head = lines[first].encode()[: node.col_offset].decode()
    tail = lines[last - 1].encode()[node.end_col_offset :].decode()
    before, after = 0, 0
    while text.count("".join(lines[first - before : last + after])) > 1:
        before, after = min(before + 1, first), after + 1
    above, below = "".join(lines[first - before : first]), "".join(lines[last : last + after])
    return above + "".join(lines[first:last]) + below, above + head + new + tail + below
