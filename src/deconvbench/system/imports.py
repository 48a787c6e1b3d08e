"""Which files the modules of another Python process are taken from: those that this one took them from.

``python -m`` searches the current folder before the standard library, and a search path alone does not tell what
was imported before it changed. So a process that is to run what this one has gets its search path and the places
of the modules that were imported, and is started by this file (``python -P imports.py``). Standard library only;
nothing that it needs before the search path is set can be replaced by a folder of the user's.
"""

import contextlib
import importlib.util
import json
import os
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# where a module came from: its file, None for a namespace, and the folders of its submodules, None for none
Place = tuple[str | None, list[str] | None]


@contextlib.contextmanager
def start_like_this(
    module: str, *arguments: str, python: str | None = None, search_path: Sequence[str] = ()
) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """Prepare the start of a module in another process, which takes modules from where this one took them.

    Parameters
    ----------
    module : str
        Run as ``python -m`` would.
    *arguments : str
        Its arguments.
    python : str or None
        The interpreter. None takes this one; another has packages of its own, so it is not told where those of
        this one are, but for this package.
    search_path : sequence of str
        Folders that come before all others.

    Yields
    ------
    command : list of str
        What to execute while the block lasts.
    descriptors : tuple of int
        What the process must inherit.
    """
    path, taken = order_path(), list_taken()
    is_like_this = python is None or python == sys.executable
    if not is_like_this:
        taken = {name: place for name, place in taken.items() if name == _OUR_NAME}
        path = [entry for entry in path if not _is_installed(entry)]
    found = {
        "search_path": [os.path.abspath(folder) for folder in search_path],  # noqa: PTH100 -- as sys.path has them
        "path": path,
        "replaces": is_like_this,
        "taken": taken,
    }
    descriptor = _open_unnamed()
    try:
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            json.dump(found, file)
        os.lseek(descriptor, 0, os.SEEK_SET)
        command = [python or sys.executable, "-P", __file__, str(descriptor), module, *arguments]
        yield command, (descriptor,)
    finally:
        os.close(descriptor)


_OUR_NAME = "deconvbench"
_LIBRARY = os.path.dirname(os.__file__)  # noqa: PTH120 -- may be within a zip file


def _is_installed(entry: str) -> bool:
    """Say whether a folder of the search path belongs to the interpreter rather than to the user."""
    return entry.startswith((sys.prefix, sys.base_prefix)) and (
        entry.startswith(_LIBRARY) or entry.endswith((".zip", "-packages"))
    )


def _open_unnamed() -> int:
    if hasattr(os, "memfd_create"):  # no disk that could be full
        return os.memfd_create("deconvbench-imports")
    import tempfile  # noqa: PLC0415 -- it needs modules that this one may not

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def order_path() -> list[str]:
    """Return this process's module search path, absolute, with the current folder behind the standard library.

    Returns
    -------
    list of str
        The current folder stays before installed packages where it was.
    """
    try:
        here = os.getcwd()  # noqa: PTH109 -- as sys.path has it
    except FileNotFoundError:
        here = ""
    path = [
        here if entry in ("", os.curdir) else os.path.join(here, entry)  # noqa: PTH118 -- may be a zip file
        for entry in sys.path
        if here or os.path.isabs(entry)  # noqa: PTH117 -- likewise
    ]
    standard = [number for number, entry in enumerate(path) if entry in (_LIBRARY, f"{_LIBRARY}/lib-dynload")]
    end = max(standard, default=-1) + 1
    first = [entry for entry in path[:end] if entry != here]
    return [*first, *[here][: end - len(first)], *path[end:]]


def search_current_folder(modules: Sequence[str]) -> None:
    """Have modules looked for in the current folder first, and whatever else is not found elsewhere there last.

    Parameters
    ----------
    modules : sequence of str
        Full names; those that are not there, or were imported before, are found as ever.
    """
    here = os.getcwd()  # noqa: PTH109 -- as sys.path has it
    if not {here, ""} & set(sys.path):
        sys.path.append(here)
    names = {module.partition(".")[0] for module in modules}
    places = {name: place for name in names if (place := _find_place(name, here)) is not None}
    sys.meta_path.insert(_find_position(), TakenFinder(places, ()))


def _find_place(name: str, folder: str) -> Place | None:
    found = PathFinder.find_spec(name, [folder])
    # a folder without code in it may be anything
    if found is None or found.origin is None:
        return None
    locations = found.submodule_search_locations
    return found.origin, None if locations is None else list(locations)


def _find_position() -> int:
    """Say where a finder goes that comes before all but those of what is built in."""
    return sys.meta_path.index(PathFinder)


def list_taken() -> dict[str, Place]:
    """List where the top-level modules that this process has imported came from.

    Returns
    -------
    dict of str to tuple
        By name. What is built into the interpreter is left out.
    """
    found: dict[str, Place] = {}
    for name, module in sys.modules.copy().items():
        if "." in name or name == "__main__" or not isinstance(module, ModuleType):
            continue
        spec = vars(module).get("__spec__")
        if not isinstance(spec, ModuleSpec) or spec.name != name:
            continue
        folders = vars(module).get("__path__")
        locations = None if folders is None else [str(folder) for folder in folders]
        origin = spec.origin if spec.has_location else None
        if origin is not None or locations:
            found[name] = (origin, locations)
    return found


class TakenFinder:
    """Finds modules where another process took them.

    Parameters
    ----------
    taken : mapping of str to tuple
        From `list_taken`.
    search_path : sequence of str
        Folders that come before.
    """

    def __init__(self, taken: Mapping[str, Place], search_path: Sequence[str]) -> None:
        self._taken = taken
        self._search_path = list(search_path)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a top-level module; submodules are found through their package's path."""
        if path is not None or fullname not in self._taken:
            return None
        if self._search_path and (found := PathFinder.find_spec(fullname, self._search_path, target)):
            return found
        origin, locations = self._taken[fullname]
        if origin is None:
            namespace = ModuleSpec(fullname, None, is_package=True)
            namespace.submodule_search_locations = locations
            return namespace
        folder = os.path.dirname(origin)  # noqa: PTH120 -- may be within a zip file
        if locations is not None:
            folder = os.path.dirname(folder)  # noqa: PTH120 -- likewise
        found = PathFinder.find_spec(fullname, [folder], target)
        if found is None or found.origin != origin:  # found by a finder of its own, or named unlike its folder
            return importlib.util.spec_from_file_location(fullname, origin, submodule_search_locations=locations)
        return found


def _start(descriptor: str, module: str) -> None:
    with open(int(descriptor), encoding="utf-8") as file:  # noqa: PTH123 -- it has no name
        found: dict[str, Any] = json.load(file)
    sys.path[:] = found["path"] if found["replaces"] else [*sys.path, *found["path"]]
    sys.path[:0] = found["search_path"]
    finder = TakenFinder(found["taken"], found["search_path"])
    sys.meta_path.insert(_find_position(), finder)
    sys.argv[:3] = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _start(sys.argv[1], sys.argv[2])
