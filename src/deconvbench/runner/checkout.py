"""Taking the upsamplers from another checkout while everything that measures stays ours.

Two commits are compared fairly only by one engine. So a worker imports the packages that hold layers, and the
theory they are built on, from the other commit's sources, and all the rest from here. Imports no layer itself.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from deconvbench import errors

# what a commit is judged by; everything else is what judges
PRODUCTS = ("deconvbench.theory", "deconvbench.upsamplers")
# what the layers of earlier commits import from modules that no longer exist
_MOVED = {"deconvbench.failures": errors}


class _ProductFinder(importlib.abc.MetaPathFinder):
    """Finds the products below another source tree, and nothing else."""

    def __init__(self, package: Path) -> None:
        self._package = package

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 -- the protocol's; ours is another
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname not in PRODUCTS:
            return None  # their submodules are found through their own __path__
        spec = PathFinder.find_spec(fullname, [str(self._package)], target)
        if spec is None:
            # the next finder would find ours, and we would be measured in the other's name
            raise ModuleNotFoundError(f"{self._package} has no {fullname}", name=fullname)
        return spec


def take_products_from(source: Path) -> None:
    """Import the products from another checkout from now on, in this process.

    Parameters
    ----------
    source : Path
        The folder that holds the other checkout's ``deconvbench`` package.

    Raises
    ------
    RuntimeError
        If one of them was imported already. Importing one that the checkout lacks raises ModuleNotFoundError
        later.
    """
    early = [name for name in PRODUCTS if name in sys.modules]
    if early:
        raise RuntimeError(f"{', '.join(early)} imported before the other checkout was chosen")
    sys.modules.update(_MOVED)
    sys.meta_path.insert(0, _ProductFinder(source / "deconvbench"))
