"""Two small languages for choosing cases: constraints of a grid, and pytest's ``-k``.

Both are compiled from Python's own syntax tree with a short list of allowed nodes, so that a grid file can
say ``out_channels * 2 == in_channels`` without being able to run anything. Standard library only.
"""

import ast
import operator
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from deconvbench.errors import UsageError

Constraint = Callable[[Mapping[str, Any]], bool]
KeywordMatch = Callable[[str], bool]

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ORDERINGS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


def compile_constraint(text: str, names: Collection[str]) -> Constraint:
    """Compile a condition on the fields of a case.

    Allowed are the fields' names, numbers, strings, lists, ``+ - * // %``, comparisons, ``in``, ``and``, ``or``
    and ``not``. An ordering that meets a field without a value (`kernel_size` of an upsampler without a
    kernel) holds: a condition on kernels says nothing about a layer that has none.

    Parameters
    ----------
    text : str
        For example ``kernel_size >= scale_factor``.
    names : collection of str
        The fields it may speak of.

    Returns
    -------
    callable
        Takes the fields' values by name and returns a bool.

    Raises
    ------
    UsageError
        If the text is not such a condition.
    """
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise UsageError(f"{text!r} is not a condition: {error.msg}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in names:
            raise UsageError(f"{text!r} speaks of {node.id!r}, which is not one of {', '.join(names)}")
    _check_nodes(tree.body, text)

    def holds(values: Mapping[str, Any]) -> bool:
        try:
            return bool(_evaluate(tree.body, values))
        except (TypeError, ZeroDivisionError) as error:
            raise UsageError(f"{text!r} cannot be evaluated: {error}") from error

    return holds


def _check_nodes(node: ast.AST, text: str) -> None:
    """Refuse any node that `_evaluate` does not know, when the grid is read and not when it is expanded."""
    allowed = (
        ast.BoolOp | ast.UnaryOp | ast.BinOp | ast.Compare | ast.List | ast.Tuple | ast.Name | ast.Constant
        | ast.boolop | ast.expr_context | ast.Not | ast.USub
    )  # fmt: skip
    known = isinstance(node, allowed) or type(node) in _ARITHMETIC | _ORDERINGS | _COMPARISONS
    if not known:
        raise UsageError(
            f"{text!r} uses {type(node).__name__}; a condition has names, numbers, strings, lists, "
            "+ - * // %, comparisons, in, and, or, not"
        )
    for child in ast.iter_child_nodes(node):
        _check_nodes(child, text)


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:  # noqa: PLR0911 -- one return for each kind of node
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return values[name]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_evaluate(item, values) for item in items]
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, values)
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, values)
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_evaluate(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_evaluate(part, values) for part in parts)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            terms = [_evaluate(term, values) for term in (left, *comparators)]
            return all(_compare(op, a, b) for op, a, b in zip(ops, terms, terms[1:], strict=False))
        case _:
            raise AssertionError(f"_check_nodes let {node!r} pass")


def _compare(op: ast.cmpop, left: Any, right: Any) -> bool:
    if type(op) in _ORDERINGS:
        return left is None or right is None or _ORDERINGS[type(op)](left, right)
    return _COMPARISONS[type(op)](left, right)


def compile_keyword(text: str) -> KeywordMatch:
    """Compile a ``-k`` expression with pytest's meaning.

    Words match as substrings, whatever their case; ``and``, ``or``, ``not`` and parentheses combine them.

    Parameters
    ----------
    text : str
        For example ``nearest and not 128x128``.

    Returns
    -------
    callable
        Takes a name (a `case_id`) and says whether it matches.

    Raises
    ------
    UsageError
        If the text is not such an expression.
    """
    words: list[str] = []

    def stand_in(found: re.Match[str]) -> str:
        word = found[0]
        if word in ("and", "or", "not"):
            return word
        words.append(word.lower())
        return f"w{len(words) - 1}"

    source = re.sub(r"[\w:+\-.\[\]\\/]+", stand_in, text)
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except SyntaxError as error:
        raise UsageError(f"-k: {text!r} is not an expression of words, and, or, not and parentheses") from error
    for node in ast.walk(tree):
        if not isinstance(node, ast.BoolOp | ast.Name | ast.boolop | ast.expr_context | ast.Not) and not (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            raise UsageError(f"-k: {text!r} is not an expression of words, and, or, not and parentheses")

    def matches(name: str) -> bool:
        values = {f"w{index}": word in name.lower() for index, word in enumerate(words)}
        return bool(_evaluate(tree, values))

    return matches
