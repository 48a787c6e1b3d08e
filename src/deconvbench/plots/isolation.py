"""Getting matplotlib imported whatever the surroundings say of it: a notebook's backend, a broken settings file.

Figures are drawn here without a backend and in settings of their own (`style`), so neither may stop a report. What
a person set for figures of their own is left as it was. Imported before anything that imports matplotlib.
"""

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_BACKEND, _SETTINGS = "MPLBACKEND", "MATPLOTLIBRC"


def import_matplotlib() -> None:
    """Import matplotlib; where that is refused because of a person's settings, without them."""
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.get(_BACKEND)
    with _set_variable(_BACKEND, None):
        try:
            matplotlib = importlib.import_module("matplotlib")
        # a settings file that is no text, or may not be read
        except (OSError, ValueError):
            # what was imported of it until then would be half of another
            for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
                del sys.modules[name]
            with _set_variable(_SETTINGS, _find_own_settings()):
                matplotlib = importlib.import_module("matplotlib")
    if backend is not None:
        with contextlib.suppress(ValueError):  # one that is not installed here
            matplotlib.rcParams["backend"] = backend


def _find_own_settings() -> str | None:
    spec = importlib.util.find_spec("matplotlib")
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((str(Path(folder) / "mpl-data" / "matplotlibrc") for folder in folders), None)


@contextlib.contextmanager
def _set_variable(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


import_matplotlib()
