"""What differs between the environments of two runs: machine, software, settings; nothing is judged here.

Takes the record of the environment that a run keeps, or what pytest-benchmark saves of the machine.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from deconvbench.system.texts import tidy_line

# what changes from run to run on one machine, and what is compared, or named, elsewhere
_LEFT_OUT = frozenset(
    {
        *("load_average", "machine_id", "torch_version", "packages: torch", "packages: deconvbench", "node"),
        "project_commit",
    }
)
_NAMES = {
    "code_version": "code", "python_version": "Python", "cpu_governor": "governor", "torch_threads": "threads",
    "usable_cores": "usable cores", "cpu_quota_cores": "quota of cores", "memory_bytes": "bytes of memory",
    "onednn": "oneDNN", "mkl": "MKL",
}  # fmt: skip
# where one of these is recorded, what it lacks was not set or not installed
_WHOLE = {"variables": "not set", "packages": "not installed"}


def list_facts(environment: Mapping[str, Any]) -> dict[str, str]:
    """List what an environment's record says, one text for each fact.

    Parameters
    ----------
    environment : mapping
        From ``run.json``, or ``machine_info`` of pytest-benchmark; may hold anything.

    Returns
    -------
    dict of str to str
        By name; for `variables` and `packages` also an empty text under their own names, which says that they
        were recorded.
    """
    return {name: text for name, text in _walk("", environment) if name not in _LEFT_OUT}


def _walk(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        if prefix in _WHOLE:
            yield prefix, ""
        for key, entry in value.items():
            yield from _walk(f"{prefix}: {key}" if prefix else str(key), entry)
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            yield from _walk(f"{prefix} {index}", entry)
    else:
        yield tidy_line(prefix), tidy_line("unknown" if value is None else str(value))


def list_differences(base: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """List the facts in which two environments differ.

    Parameters
    ----------
    base, new : mapping of str to str
        From `list_facts`.

    Returns
    -------
    list of str
        One line each: ``Python 3.11.2 against 3.12.1``. What only one side recorded is no difference, but for a
        variable that was not set or a package that was not installed.
    """
    lines = []
    for name in dict.fromkeys((*base, *new)):
        group, _, member = name.partition(": ")
        absent = _WHOLE.get(group) if group in base and group in new else None
        before, after = base.get(name, absent), new.get(name, absent)
        if before is not None and after is not None and before != after:
            word = member if group in _WHOLE else _NAMES.get(name, name.replace("_", " "))
            lines.append(f"{word} {before} against {after}")
    return lines


def describe_differences(base: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Write the differences as notes of a comparison.

    Parameters
    ----------
    base, new : mapping of str to str
        From `list_facts`.

    Returns
    -------
    list of str
        One line, or none where nothing differs.
    """
    differences = list_differences(base, new)
    return [f"environments differ: {'; '.join(differences)}"] if differences else []
