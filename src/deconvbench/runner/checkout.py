"""Taking the upsamplers from another checkout while everything that measures stays ours.

Two commits are compared fairly only by one engine. So a worker imports the packages that hold layers, and the
theory they are built on, from the other commit's sources, and all the rest from here; of a user's own repository
it imports the modules that are named. Imports no layer itself.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Collection, Sequence
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


class CheckoutFinder(importlib.abc.MetaPathFinder):
    """Finds some top-level modules below a checkout, or not at all.

    Parameters
    ----------
    folders : sequence of Path
        Where they may be, the first that has one wins.
    names : collection of str
        Their names. Their submodules are found through their own ``__path__``.
    """

    def __init__(self, folders: Sequence[Path], names: Collection[str]) -> None:
        self._folders = [str(folder) for folder in folders]
        self._names = frozenset(names)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 -- the protocol's
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find one of the modules; an installed one of the same name would be measured in the checkout's name."""
        if fullname not in self._names:
            return None
        spec = PathFinder.find_spec(fullname, self._folders, target)
        if spec is None:
            raise ModuleNotFoundError(f"this commit has no module {fullname}", name=fullname)
        return spec


def take_modules_from(folders: Sequence[Path], names: Collection[str]) -> None:
    """Import some top-level modules from a checkout from now on, in this process.

    Parameters
    ----------
    folders : sequence of Path
        Source folders of the checkout.
    names : collection of str
        Of the modules.

    Raises
    ------
    RuntimeError
        If one of them was imported already.
    """
    early = [name for name in names if name in sys.modules]
    if early:
        raise RuntimeError(f"{', '.join(early)} imported before the checkout was chosen")
    sys.meta_path.insert(0, CheckoutFinder(folders, names))
