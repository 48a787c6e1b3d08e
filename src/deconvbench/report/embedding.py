"""What makes a page whole and safe: styles and scripts inlined, data as inert JSON, and a policy for no more.

Every page of this package takes its parts from here. The content security policy names each inlined style and
script by its SHA-256, so that no other text, whoever wrote it, runs or fetches anything.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from deconvbench.records.decoding import make_strict

# what the charts are drawn with, in this order; see assets/vendor/manifest.json
CHART_LIBRARY = ("vendor/d3.min.js", "vendor/plot.umd.min.js")
# the style that the library itself puts into each chart
_CHART_STYLE = "vendor/plot-style.css"
# within a script element, HTML reads these; in JSON they only occur within strings, where a number means the same
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_FIXED_POLICY = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a page's template puts into its head and at its end.

    Parameters
    ----------
    policy : str
        Content of the ``meta`` element for the content security policy.
    styles : tuple of Markup
        One ``style`` element each.
    scripts : tuple of Markup
        One ``script`` element each, in their order.
    """

    policy: str
    styles: tuple[Markup, ...]
    scripts: tuple[Markup, ...]


@cache
def load_asset(name: str) -> str:
    """Read a file of ``report/assets``.

    Parameters
    ----------
    name : str
        With the folder in front, such as ``vendor/d3.min.js``.

    Raises
    ------
    ValueError
        If the text would end the element that it is put into.
    """
    text = files("deconvbench.report").joinpath("assets", *name.split("/")).read_text(encoding="utf-8")
    if "</script" in text.lower() or "</style" in text.lower():
        raise ValueError(f"{name}: holds the end of a script or style element, so it cannot be inlined")
    return text


def hash_source(text: str) -> str:
    """Name a script or style as a content security policy does.

    Parameters
    ----------
    text : str
        All that stands between the tags.
    """
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def gather_parts(styles: Sequence[str] = ("page.css",), scripts: Sequence[str] = ()) -> Parts:
    """Inline styles and scripts of ``report/assets``, and allow them and nothing else.

    Parameters
    ----------
    styles, scripts : sequence of str
        As for `load_asset`; scripts share one scope and run in this order at the end of the page.
    """
    style_texts, script_texts = [load_asset(name) for name in styles], [load_asset(name) for name in scripts]
    allowed = [hash_source(text) for text in style_texts]
    if set(CHART_LIBRARY) & {*scripts}:
        allowed.append(hash_source(load_asset(_CHART_STYLE)))
    rules = [_FIXED_POLICY, f"style-src {' '.join(allowed)}" if allowed else ""]
    rules.append(f"script-src {' '.join(map(hash_source, script_texts))}" if script_texts else "")
    return Parts(
        policy="; ".join(filter(None, rules)),
        styles=tuple(Markup(f"<style>{text}</style>") for text in style_texts),
        scripts=tuple(Markup(f"<script>{text}</script>") for text in script_texts),
    )


def embed_json(data: Any, name: str) -> Markup:
    """Embed data for a page's scripts, whatever its texts hold.

    Parameters
    ----------
    data : object
        Plain data; numbers that are not finite become null.
    name : str
        The element's id.

    Returns
    -------
    Markup
        A ``script`` element of a type that no browser runs. No text in it can end the element.
    """
    text = json.dumps(make_strict(data), allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return Markup(f'<script type="application/json" id="{name}">{text.translate(_UNSAFE)}</script>')


def embed_picture(picture: bytes, kind: str = "png") -> str:
    """Write a picture as an address that holds it.

    Parameters
    ----------
    picture : bytes
        The file.
    kind : str
        Subtype of ``image/``.
    """
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
