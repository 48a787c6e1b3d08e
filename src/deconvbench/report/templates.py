"""The templates of the pages: in them, text of others is escaped, and nothing of it is hidden.

jinja2 escapes HTML's own characters; what cannot be seen in a page, or turns its lines around, is written as a
number. Templates may import and extend those of ``report/templates``: ``base.html.j2`` is the frame of a page,
``pieces.html.j2`` has tables and the like.
"""

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from deconvbench.system.texts import escape_controls


@cache
def _make_environment() -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader("deconvbench.report", folder) for folder in ("templates", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_show,
    )


def load_template(name: str) -> Template:
    """Load a template of this package.

    Parameters
    ----------
    name : str
        Its file's name, in ``report/templates`` or ``report``.

    Returns
    -------
    Template
        What it is given and does not know is an error.
    """
    return _make_environment().get_template(name)


def _show(value: Any) -> Any:
    """Write a text without what cannot be seen; ends of lines are kept, and what is HTML already."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(map(escape_controls, value.split("\n")))
