"""Kinds of machines: equal ones can share a run, others measure one each."""

import hashlib
from collections.abc import Mapping
from typing import Any

# what the numbers of a run depend on, of what `collect_environment` records
_FACTS = ("cpu", "cpu_capability", "cores", "usable_cores", "cpu_quota_cores")
_MEMORY_UNIT = 2**30


def name_kind(environment: Mapping[str, Any]) -> str:
    """Name the kind of a machine by eight hexadecimal digits: its hardware, as far as a run depends on it.

    Parameters
    ----------
    environment : mapping
        From `collect_environment`, with the accelerators.

    Returns
    -------
    str
        The same for machines of the same processor, cores, memory (to the GiB) and accelerators.
    """
    memory = environment.get("memory_bytes")
    facts = {name: environment.get(name) for name in _FACTS}
    facts["memory"] = round(memory / _MEMORY_UNIT) if isinstance(memory, int | float) else None
    facts["accelerators"] = _list_accelerators(environment.get("accelerator"))
    return hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:8]


def _list_accelerators(found: Any) -> list[str]:
    if isinstance(found, Mapping) and "devices" in found:
        found = found["devices"]
    devices = found if isinstance(found, list) else [found] if found else []
    return [str(device.get("name")) if isinstance(device, Mapping) else str(device) for device in devices]
