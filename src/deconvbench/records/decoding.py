"""From JSON to checked values: the one mechanism by which this package reads back what is written as JSON.

What a file should hold is said once, by the annotations of a dataclass or TypedDict. Whatever else is in it, of
any type and depth, is one `DecodingError` that names the field, what is there and what is allowed; the caller, who
knows the file, adds its name. Standard library only.
"""

import json
import math
import reprlib
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

from deconvbench.errors import UsageError
from deconvbench.system.reading import decode_text
from deconvbench.units import to_float

T = TypeVar("T")

# of what has no annotation of its own; readers of it walk through it by recursion
_MOST_LEVELS = 50
_ALLOWED = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}

_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 60
_shorten.maxlist = _shorten.maxdict = 3
_shorten.maxlevel = 2

_Reader = Callable[[Any], Any]


class DecodingError(ValueError):
    """What a file holds is not what it should hold.

    Parameters
    ----------
    reason : str
        What is there, and what is allowed.
    allowed : str
        What is allowed, where that is a kind of value.
    """

    def __init__(self, reason: str, allowed: str = "") -> None:
        super().__init__(reason)
        self.allowed = allowed
        self.path: list[str | int] = []

    def __str__(self) -> str:
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path).lstrip(".")
        return f"{where}: {self.args[0]}" if where else str(self.args[0])


def show_value(value: Any) -> str:
    """Write a value of JSON for a message, without the middle where it is long.

    Parameters
    ----------
    value : object
        From `parse_json`.
    """
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return _shorten.repr(value)


def parse_json(content: bytes | str) -> Any:
    """Parse JSON.

    ``NaN`` and ``Infinity`` are numbers here, and whole numbers may be of any size: what earlier versions or other
    programs wrote stays readable.

    Parameters
    ----------
    content : bytes or str
        A whole document; bytes are UTF-8.

    Raises
    ------
    DecodingError
        If it is not JSON, names a key twice in one object, or is nested too deeply; the message names the line.
    """
    try:
        text = decode_text(content) if isinstance(content, bytes) else content
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise DecodingError(f"not JSON: {error.msg} ({place})") from error
    except RecursionError as error:
        raise DecodingError("nested too deeply") from error
    except DecodingError:
        raise
    # text that is not UTF-8, and numbers of thousands of digits
    except ValueError as error:
        raise DecodingError(f"not JSON: {error}") from error


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DecodingError(f"the key {show_value(twice)} is given twice in one object")
    return made


# made once: a journal has thousands of lines
_DECODER = json.JSONDecoder(object_pairs_hook=_make_object)


def make_strict(value: Any) -> Any:
    """Put null in the place of every number that is not finite: JSON has no word for them.

    Parameters
    ----------
    value : object
        Plain data.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: make_strict(entry) for name, entry in value.items()}
    return [make_strict(entry) for entry in value] if isinstance(value, list | tuple) else value


def build(kind: type[T], value: Any) -> T:
    """Check a value against a type, and make it of that type.

    Parameters
    ----------
    kind : type
        A dataclass, a TypedDict, or any annotation made of them, of ``str``, ``int``, ``float``, ``bool``,
        ``None``, ``tuple[X, ...]``, ``tuple[X, Y]``, ``list``, ``dict``, ``Mapping``, ``Any`` and unions. A field
        of a dataclass that has no default must be there, and unknown ones are refused, but by a class whose
        ``IGNORES_UNKNOWN`` is true; a TypedDict takes further keys and keeps them.
    value : object
        From `parse_json`.

    Returns
    -------
    object
        Of that type, with tuples for lists where the annotations say so.

    Raises
    ------
    DecodingError
        If it is not of that type; the message names the field.
    """
    return cast(T, _make_reader(cast(Any, kind))(value))


@cache
def _make_reader(hint: Any) -> _Reader:
    """Make the function that checks a value against an annotation, once for each annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return _read_anything
    if origin in (Union, types.UnionType):
        return _make_union_reader([_make_reader(argument) for argument in arguments])
    if is_dataclass(hint) or is_typeddict(hint):
        return _make_object_reader(hint)
    if origin in (tuple, list):
        is_fixed = origin is tuple and arguments[-1] is not ...
        return _make_tuple_reader(arguments) if is_fixed else _make_list_reader(origin, arguments[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _make_mapping_reader(arguments[1])
    return _make_scalar_reader(hint)


def _make_scalar_reader(kind: type) -> _Reader:
    allowed = _ALLOWED[kind]

    def read(value: Any) -> Any:
        # a bool is an int to Python; JSON has one kind of number
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return to_float(value)
        raise DecodingError(f"{show_value(value)} is not {allowed}", allowed)

    return read


def _make_list_reader(origin: type, hint: Any) -> _Reader:
    read_entry = _make_reader(hint)

    def read(value: Any) -> Any:
        if type(value) is not list:
            raise DecodingError(f"{show_value(value)} is not a list", "a list")
        # samples are by far the most of what is read
        if hint is float and {*map(type, value)} == {float}:
            return origin(value)
        return origin(_read_field(index, read_entry, entry) for index, entry in enumerate(value))

    return read


def _make_tuple_reader(hints: tuple[Any, ...]) -> _Reader:
    readers = [_make_reader(hint) for hint in hints]
    allowed = f"a list of {len(readers)}"

    def read(value: Any) -> Any:
        if type(value) is not list or len(value) != len(readers):
            raise DecodingError(f"{show_value(value)} is not {allowed}", allowed)
        pairs = zip(readers, value, strict=True)
        return tuple(_read_field(index, reader, entry) for index, (reader, entry) in enumerate(pairs))

    return read


def _make_mapping_reader(hint: Any) -> _Reader:
    read_entry = _make_reader(hint)

    def read(value: Any) -> dict[str, Any]:
        _check_object(value)
        return {name: _read_field(name, read_entry, entry) for name, entry in value.items()}

    return read


def _make_object_reader(kind: Any) -> _Reader:
    hints, keeps_unknown = get_type_hints(kind), is_typeddict(kind)
    if keeps_unknown:
        names, required = list(hints), [name for name in hints if name in kind.__required_keys__]
    else:
        names = [f.name for f in fields(kind)]
        required = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    readers = {name: _make_reader(hints[name]) for name in names}
    ignores_unknown = getattr(kind, "IGNORES_UNKNOWN", False)

    def read(value: Any) -> Any:
        _check_object(value)
        for name in required:
            if name not in value:
                raise DecodingError(f"{name} is missing")
        found = {}
        for name, entry in value.items():
            if name in readers or keeps_unknown:
                found[name] = _read_field(name, readers.get(name, _read_anything), entry)
            elif not ignores_unknown:
                raise DecodingError(f"{show_value(name)} is not one of its fields, {', '.join(readers)}")
        try:
            return kind(**found)
        # what the type itself checks, beyond its annotations
        except (UsageError, ValueError) as error:
            raise DecodingError(str(error)) from error

    return read


def _check_object(value: Any) -> None:
    if type(value) is not dict:
        raise DecodingError(f"{show_value(value)} is not an object", "an object")


def _read_field(name: str | int, reader: _Reader, value: Any) -> Any:
    try:
        return reader(value)
    except DecodingError as error:
        error.path.insert(0, name)
        raise


def _make_union_reader(readers: list[_Reader]) -> _Reader:
    def read(value: Any) -> Any:
        errors = []
        for reader in readers:
            try:
                return reader(value)
            except DecodingError as error:
                errors.append(error)
        # the one that got furthest is the one that was meant
        best = max(errors, key=lambda error: (len(error.path), not error.allowed))
        if best.path or not best.allowed:
            raise best
        allowed = " or ".join(error.allowed for error in errors)
        raise DecodingError(f"{show_value(value)} is not {allowed}", allowed)

    return read


def _read_anything(value: Any) -> Any:
    if _is_deeper(value, _MOST_LEVELS):
        raise DecodingError(f"nested more than {_MOST_LEVELS} levels deep")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    entries = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(entry, levels - 1) for entry in entries)
