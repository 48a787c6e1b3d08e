"""What a layer may change in the process that runs it, and putting it back before the next layer is measured.

Layers are measured one after another in one process. Each part of its state is read before the first and, after
each, put back and read again; what differs even then is reported, and the process is to be replaced. What cannot
be seen from within (memory that a layer keeps, settings of the C library) is not covered.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from deconvbench.runner.python_state import Part, list_python_parts
from deconvbench.runner.torch_state import list_torch_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a layer left behind.

    Parameters
    ----------
    disturbing : tuple of str
        What was changed so that another layer beside it was measured under other conditions.
    lasting : tuple of str
        What could not be put back.
    """

    disturbing: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()


class ProcessState:
    """The state of this process, as it is when this is made.

    Parameters
    ----------
    parts : iterable of Part
        What it consists of.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        self._kept = [(part, part.read()) for part in parts]

    def restore(self) -> Changes:
        """Put back what has changed.

        Returns
        -------
        Changes
        """
        disturbing, lasting = [], []
        for part, before in self._kept:
            if _try(_is_same, part, before):
                continue
            if part.disturbs:
                disturbing.append(part.name)
            if part.write is None or not _try(_put_back, part, before):
                lasting.append(part.name)
        return Changes(disturbing=tuple(disturbing), lasting=tuple(lasting))

    def find_disturbed(self) -> tuple[str, ...]:
        """Name what has changed that another layer would be measured with; nothing is put back."""
        return tuple(
            part.name for part, before in self._kept if part.disturbs and not _try(_is_same, part, before)
        )

    def settle_imports(self) -> None:
        """Put back what imports have changed, but for what their modules need later or what cannot be put back."""
        needed = [(part, part.read()) for part, _ in self._kept if part.serves_imports]
        self.restore()
        for part, value in needed:
            if part.write is not None:
                part.write(value)
        self._kept = [(part, part.read()) for part, _ in self._kept]


def _is_same(part: Part, before: Any) -> bool:
    return part.is_same(part.read(), before)


def _put_back(part: Part, before: Any) -> bool:
    assert part.write is not None
    part.write(before)
    return part.is_same(part.read(), before)


def _try(act: Callable[[Part, Any], bool], part: Part, before: Any) -> bool:
    """Do it; what raises in it is as much as False: a layer may have replaced anything that it calls."""
    try:
        return act(part, before)
    except Exception:  # noqa: BLE001 -- whatever it is, the process is replaced
        return False


def read_process_state() -> ProcessState:
    """Read all of the state that is watched; imports torch."""
    return ProcessState([*list_python_parts(), *list_torch_parts()])
