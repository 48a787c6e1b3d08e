"""Conditions on the fields of a case, with three values: true, false, and not said.

Compiled from Python's own syntax tree with a short list of allowed nodes, so that a grid file can say
``out_channels * 2 == in_channels`` without being able to run anything. Every part has a kind (number, text, list)
that is checked when the grid is read; arithmetic is for numbers alone, so no condition builds anything larger than
itself. Standard library only.
"""

import ast
import operator
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deconvbench.errors import UsageError, quote, suggest
from deconvbench.records.case import TEXT_FIELDS

Constraint = Callable[[Mapping[str, Any]], bool]

_MAX_CHARACTERS = 4000  # every upsampler by name is some 600
_MAX_DEPTH = 50
_LARGEST_NUMBER = 10**15
_ALLOWED = "a condition has names, numbers, strings, lists, + - * // %, comparisons, in, and, or, not"
_NUMBER, _TEXT, _LIST = "a number", "text", "a list"

_ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
}


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a condition: its kind, its value for the fields of a case (None says nothing), a list's items."""

    kind: str
    value: Callable[[Mapping[str, Any]], Any]
    items: "tuple[_Part, ...]" = ()


def compile_constraint(text: str, names: Collection[str]) -> Constraint:
    """Compile a condition on the fields of a case.

    Allowed are the fields' names, numbers, texts, lists, ``+ - * // %`` of numbers, comparisons, ``in``, ``and``,
    ``or`` and ``not``. What names a field without a value (`kernel_size` of an upsampler without a kernel) says
    nothing about that case: neither do sums, comparisons and memberships made of it, nor does ``not``. ``and`` is
    false where one side is, ``or`` true where one side is, and both say nothing otherwise. A condition that says
    nothing about a case keeps it.

    Parameters
    ----------
    text : str
        For example ``kernel_size >= scale_factor``.
    names : collection of str
        The fields it may speak of.

    Returns
    -------
    callable
        Takes the fields' values by name and returns a bool; raises `UsageError` for a division by zero.

    Raises
    ------
    UsageError
        If the text is not such a condition.
    """
    tree = parse_bounded(text, "a condition")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in names:
            hint = suggest(node.id, names)
            raise UsageError(f"{quote(text)} speaks of {node.id!r}, which is not one of {', '.join(names)}{hint}")
    try:
        judge = _compile_truth(tree, "a condition")
    except UsageError as error:
        raise UsageError(f"{quote(text)} {error}") from error

    def holds(values: Mapping[str, Any]) -> bool:
        try:
            return judge(values) is not False
        except ArithmeticError as error:
            raise UsageError(f"{quote(text)} cannot be evaluated: {error}") from error

    return holds


def parse_bounded(text: str, kind: str) -> ast.expr:
    """Parse one expression of Python, unless it is too long or too deep to be meant.

    Parameters
    ----------
    text : str
        What someone wrote.
    kind : str
        What it should be, for the message.

    Raises
    ------
    UsageError
        If it is not one expression.
    """
    if len(text) > _MAX_CHARACTERS:
        raise UsageError(f"{quote(text)} has {len(text)} characters; {kind} has at most {_MAX_CHARACTERS}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes and the like: not for the user of a grid
            tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise UsageError(f"{quote(text)} is not {kind}: {error.msg}") from error
    # NUL and what is not text; nested more deeply than Python's parser goes
    except ValueError as error:
        raise UsageError(f"{quote(text)} is not {kind}: it has characters that are not text") from error
    except (MemoryError, RecursionError) as error:
        raise UsageError(f"{quote(text)} is not {kind}: it is nested too deeply") from error
    if _is_deeper(tree, _MAX_DEPTH):
        raise UsageError(f"{quote(text)} is not {kind}: it is nested too deeply; {_MAX_DEPTH} levels are allowed")
    return tree


def _is_deeper(node: ast.AST, levels: int) -> bool:
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in ast.iter_child_nodes(node))


def _compile(node: ast.expr) -> _Part:  # noqa: PLR0911 -- one return for each kind of node
    """Make a part of its syntax tree; refuse what has no kind, or not the one that it needs."""
    match node:
        case ast.Constant(value=value):
            return _Part(_find_constant_kind(value), lambda _: value)
        case ast.Name(id=name):
            return _Part(_TEXT if name in TEXT_FIELDS else _NUMBER, operator.itemgetter(name))
        case ast.List(elts=items) | ast.Tuple(elts=items):
            parts = [_compile(item) for item in items]
            return _Part(_LIST, lambda values: [part.value(values) for part in parts], tuple(parts))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _compile_arithmetic(*_ARITHMETIC[type(op)], _compile(left), _compile(right))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _compile_arithmetic("-", operator.sub, _Part(_NUMBER, lambda _: 0), _compile(operand))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            judge = _compile_truth(operand, "not")
            return _Part(_NUMBER, lambda values: _negate(judge(values)))
        case ast.BoolOp(op=op, values=operands):
            join, word = (_all, "and") if isinstance(op, ast.And) else (_any, "or")
            judges = [_compile_truth(operand, word) for operand in operands]
            return _Part(_NUMBER, lambda values: join(judge(values) for judge in judges))
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARISONS for op in ops):
            terms = [_compile(term) for term in (left, *others)]
            pairs = [_compile_comparison(*found) for found in zip(ops, terms, terms[1:], strict=False)]
            return _Part(_NUMBER, pairs[0] if len(pairs) == 1 else lambda values: _all(p(values) for p in pairs))
    culprit: ast.AST = node
    if isinstance(node, ast.BinOp | ast.UnaryOp):
        culprit = node.op
    elif isinstance(node, ast.Compare):
        culprit = next(op for op in node.ops if type(op) not in _COMPARISONS)
    raise UsageError(f"uses {type(culprit).__name__}; {_ALLOWED}")


def _find_constant_kind(value: object) -> str:
    if isinstance(value, str):
        return _TEXT
    if not isinstance(value, int | float):
        said = "None, and what names a field without a value says nothing" if value is None else repr(value)
        raise UsageError(f"uses {said}; {_ALLOWED}")
    if not abs(value) <= _LARGEST_NUMBER:
        raise UsageError(f"uses {quote(value)}; numbers up to {_LARGEST_NUMBER} are allowed")
    return _NUMBER


def _compile_arithmetic(word: str, compute: Callable[[Any, Any], Any], left: _Part, right: _Part) -> _Part:
    for side in (left, right):
        _expect(side.kind, (_NUMBER,), word)

    def evaluate(values: Mapping[str, Any]) -> Any:
        a, b = left.value(values), right.value(values)
        return None if a is None or b is None else compute(a, b)

    return _Part(_NUMBER, evaluate)


def _compile_truth(node: ast.expr, word: str) -> Callable[[Mapping[str, Any]], bool | None]:
    part = _compile(node)
    _expect(part.kind, (_NUMBER,), word)

    def judge(values: Mapping[str, Any]) -> bool | None:
        value = part.value(values)
        return None if value is None else bool(value)

    return judge


def _compile_comparison(op: ast.cmpop, left: _Part, right: _Part) -> Callable[[Mapping[str, Any]], bool | None]:
    """Make a comparison of two parts; refuse one of what is never equal or has no order."""
    word, compare = _COMPARISONS[type(op)]
    if word in ("in", "not in"):
        if right.kind == _NUMBER or (right.kind, left.kind) == (_TEXT, _NUMBER):
            raise UsageError(f"cannot be evaluated: {word} does not look for {left.kind} in {right.kind}")
        for item in right.items:
            _expect(item.kind, (left.kind,), f"{left.kind} {word} a list")
    elif word in ("==", "!="):
        _expect(right.kind, (left.kind,), f"{left.kind} {word}")
    else:
        _expect(left.kind, (_NUMBER, _TEXT), word)
        _expect(right.kind, (left.kind,), f"{left.kind} {word}")
    return lambda values: compare(left.value(values), right.value(values))


def _expect(found: str, allowed: tuple[str, ...], before: str) -> None:
    if found not in allowed:
        raise UsageError(f"cannot be evaluated: {before} takes {' or '.join(allowed)}, not {found}")


def _negate(verdict: bool | None) -> bool | None:
    return None if verdict is None else not verdict


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    """Kleene's conjunction; what comes after the first that is false is not looked at."""
    found: bool | None = True
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is None:
            found = None
    return found


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    return _negate(_all(_negate(verdict) for verdict in verdicts))


def _equal(left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and _all(map(_equal, left, right))
    return bool(left == right)


def _hold(left: Any, right: Any) -> bool | None:
    """Whether `left` is in `right`."""
    return _any(_equal(left, item) for item in right) if isinstance(right, list) else left in right


def _order(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool | None]:
    return lambda left, right: None if left is None or right is None else compare(left, right)


_COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool | None]]] = {
    ast.Eq: ("==", _equal),
    ast.NotEq: ("!=", lambda left, right: _negate(_equal(left, right))),
    ast.In: ("in", _hold),
    ast.NotIn: ("not in", lambda left, right: _negate(_hold(left, right))),
    ast.Lt: ("<", _order(operator.lt)),
    ast.LtE: ("<=", _order(operator.le)),
    ast.Gt: (">", _order(operator.gt)),
    ast.GtE: (">=", _order(operator.ge)),
}
