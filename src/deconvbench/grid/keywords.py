"""The language of ``-k``: which cases are meant, by parts of their ids, with pytest's meaning.

Standard library only.
"""

import ast
import re
from collections.abc import Callable, Collection

from deconvbench.errors import UsageError, quote
from deconvbench.grid.expressions import parse_bounded

KeywordMatch = Callable[[str], bool]


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
        tree = parse_bounded(source, "an expression")
        _check_nodes(tree)
    except UsageError as error:
        raise UsageError(
            f"-k: {quote(text)} is not an expression of words, and, or, not and parentheses"
        ) from error

    def matches(name: str) -> bool:
        return _evaluate(tree, {f"w{index}" for index, word in enumerate(words) if word in name.lower()})

    return matches


def _check_nodes(node: ast.expr) -> None:
    match node:
        case ast.Name():
            return
        case ast.BoolOp(values=parts):
            for part in parts:
                _check_nodes(part)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _check_nodes(operand)
        case _:
            raise UsageError("words, and, or, not and parentheses are allowed")


def _evaluate(node: ast.expr, found: Collection[str]) -> bool:
    match node:
        case ast.BoolOp(op=op, values=parts):
            verdicts = (_evaluate(part, found) for part in parts)
            return all(verdicts) if isinstance(op, ast.And) else any(verdicts)
        case ast.UnaryOp(operand=operand):
            return not _evaluate(operand, found)
        case ast.Name(id=name):
            return name in found
        case _:
            raise AssertionError(f"_check_nodes let {node!r} pass")
