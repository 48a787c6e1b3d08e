r"""Text that others wrote, made safe for where it goes: a terminal, a line, Markdown, a CSV cell.

What a layer raised, a journal holds or a file is called may have any character in it. Here each medium gets it
without what the medium obeys, and as readable as before. HTML is the templates' task. Standard library only.
"""

import html
import re
from typing import TextIO

MOST_CHARACTERS = 2000
"""Of a message that is stored; what an exception says can be a whole page, or the whole of its input."""

# joiners within letters of several scripts, and within emoji, and blanks at which no line breaks; all else that
# cannot be seen is written as a number
_HARMLESS = "\u200c\u200d\u00a0\u202f"
# what Markdown obeys anywhere in a line, or at the start of one
_MARKDOWN = re.compile(r"^(\s*)([-+=])|^(\s*\d+)([.)])(?=\s|$)|()([\\`*_{}\[\]|~#!])")
# sites make links of these by themselves, and notify whoever is named
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|mailto|xmpp)(:)|\b(www)(\.)|(@)")
# what spreadsheets take for the start of a formula, the letters of full width among it
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def escape_controls(text: str) -> str:
    r"""Write what cannot be seen, and what a terminal obeys, as Python does: ``\x1b``, ``\u202e``, ``\udce9``.

    Parameters
    ----------
    text : str
        Any, lone surrogates included.

    Returns
    -------
    str
        Printable and, whatever its encoding, on one line. Applied twice it changes nothing more.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _HARMLESS else _name_character(character)
        for character in text
    )


def _name_character(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def tidy_line(text: str, limit: int = MOST_CHARACTERS) -> str:
    """Make one line of a text: blanks and ends of lines of every kind become one blank each, nothing is hidden.

    Parameters
    ----------
    text : str
        Any.
    limit : int
        Most characters; what is beyond is cut off, which is marked by an ellipsis.

    Returns
    -------
    str
        Printable. Applied twice it changes nothing more.
    """
    # what is cut off is not looked at: it may be long
    line = escape_controls(" ".join(text[: 4 * limit].split()))
    if len(line) <= limit and len(text) <= 4 * limit:
        return line
    return f"{line[: limit - 2].rstrip()} …"


def print_text(text: object, file: TextIO | None = None) -> None:
    """Print a text in which others may have had a say, such as a path: its lines, without what a terminal obeys.

    Parameters
    ----------
    text : object
        Made a text; it may have several lines.
    file : text stream, optional
        Standard output by default.
    """
    print("\n".join(map(escape_controls, str(text).split("\n"))), file=file, flush=file is not None)


def escape_markdown(text: str) -> str:
    """Write a text so that Markdown, and what a site adds to it, shows it as it is.

    Parameters
    ----------
    text : str
        Any; it may stand at the start of a line, in a heading or in a cell of a table.

    Returns
    -------
    str
        One line.
    """
    line = html.escape(escape_controls(text), quote=False)
    line = _MARKDOWN.sub(lambda found: "\\".join(part for part in found.groups() if part is not None), line)
    return _ADDRESS.sub(_break_address, line)


def _break_address(found: "re.Match[str]") -> str:
    if found[5]:
        return "@<!-- -->"
    return f"{found[1]}\\:" if found[1] else f"{found[3]}\\."


def write_code(text: str) -> str:
    """Write a text as code in a line of Markdown, or in a cell of a table.

    Parameters
    ----------
    text : str
        Any.
    """
    line = escape_controls(text)
    if "`" in line or "|" in line or not line.strip():
        return escape_markdown(line)  # within code there is no way to escape them that holds everywhere
    return f"`{line}`"


def guard_formula(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would take for a formula.

    Parameters
    ----------
    text : str
        A cell of a CSV file that is not a number.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def strip_guard(text: str) -> str:
    """Take off what `guard_formula` put before a text.

    Parameters
    ----------
    text : str
        A cell of a CSV file.
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
