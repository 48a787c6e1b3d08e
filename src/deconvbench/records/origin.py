"""What a merged run keeps of where its runs come from: how and on what each was measured, no hosts, no users."""

import re
from collections.abc import Mapping
from typing import Any

KEPT_FACTS = (
    *("created_at", "finished_at", "seed", "grid", "baseline", "conditions", "precision", "keyword"),
    *("command", "environment"),
)
# keys of an environment that name a host or a user, in whichever program's words
_NAMES = frozenset({"node", "host", "hostname", "user", "username", "home"})
# folders may be called after users: what is kept of a path is its last part
_PATH = re.compile(r"(?<![\w/.])~?(?:[A-Za-z]:)?[/\\](?:[^/\\\s:;,]+[/\\])*([^/\\\s:;,]*)")


def keep_facts(info: Mapping[str, Any]) -> dict[str, Any]:
    """Take from ``run.json`` what a merged run keeps of it: how it came about and where, without hosts and users.

    Parameters
    ----------
    info : mapping
        Of a run; every key may be missing.
    """
    return {name: strip_names(info[name]) for name in KEPT_FACTS if name in info}


def strip_names(value: Any) -> Any:
    """Leave out of plain data what names a host or a user, and the folders of paths.

    Parameters
    ----------
    value : object
        Plain data.
    """
    if isinstance(value, Mapping):
        return {name: strip_names(entry) for name, entry in value.items() if name not in _NAMES}
    if isinstance(value, list | tuple):
        return [strip_names(entry) for entry in value]
    return _PATH.sub(r"\1", value) if isinstance(value, str) else value
