"""The templates of the pages: in them, text of others is escaped, and nothing of it is hidden.

jinja2 escapes HTML's own characters; what cannot be seen in a page, or turns its lines around, is written as a
number.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from deconvbench.system.texts import escape_controls


@cache
def load_template(name: str) -> Template:
    """Load a template of this package.

    Parameters
    ----------
    name : str
        Its file's name.

    Returns
    -------
    Template
        What it is given and does not know is an error.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_show
    )
    return environment.from_string(files("deconvbench.report").joinpath(name).read_text(encoding="utf-8"))


def _show(value: Any) -> Any:
    """Write a text without what cannot be seen; ends of lines are kept, and what is HTML already."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(map(escape_controls, value.split("\n")))
