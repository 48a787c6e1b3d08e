"""The report of results/reference, written again from the tables that are kept there; nothing is measured.

What is known of layers after training, in the quality table there and in its copy that ships, is renewed as well.
``--check`` compares what the page says with what this code would write: every text, number and script, but not the
pixels of its pictures, which depend on the version of the plotting library.
"""

import argparse
import re
import sys
from pathlib import Path

from deconvbench.analysis.results import derive_results
from deconvbench.records.run_folder import CLAIMS_NAME, REPORT_NAME, read_run_info
from deconvbench.report import write_report
from deconvbench.report.claims import parse_claims
from deconvbench.report.output import FIGURES_NAME, name_article
from deconvbench.report.page import render_report
from deconvbench.system.writing import write_files
from deconvbench.tables.files import QUALITY_CSV_NAME, QUALITY_NAME, encode_tables, read_tables
from deconvbench.tables.trained import describe_trained, load_shipped

FOLDER = Path("results/reference/amd-epyc-2-cores/quick")
SHIPPED = Path("src/deconvbench/tables/reference_run")
_PICTURE = re.compile(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]*")


def strip_pictures(html: str) -> str:
    """Take the pixels out of a page.

    Parameters
    ----------
    html : str
        The page.
    """
    return _PICTURE.sub("data:image", html)


def render_without_pictures(folder: Path) -> str:
    """Write the page of a folder anew, with the pictures that it has but without their pixels.

    Parameters
    ----------
    folder : Path
        A run folder with tables and figures.
    """
    trained = load_shipped()
    results = derive_results(read_tables(folder, trained))
    pictures = {path.stem: b"" for path in sorted((folder / FIGURES_NAME).glob("*.png"))}
    own = name_article(folder / REPORT_NAME)
    page = render_report(
        results,
        read_run_info(folder),
        pictures,
        claims=parse_claims((folder / CLAIMS_NAME).read_bytes(), CLAIMS_NAME),
        origin=describe_trained(trained),
        trained=trained,
        article_address=own.name if own else "",
        has_files=True,
    )
    return strip_pictures(page)


def is_current(folder: Path = FOLDER) -> bool:
    """Say whether the page of a folder says what this code would.

    Parameters
    ----------
    folder : Path
        A run folder with tables, figures and report.
    """
    kept = (folder / REPORT_NAME).read_text(encoding="utf-8")
    return strip_pictures(kept) == render_without_pictures(folder)


def renew_quality(folder: Path, copy: Path) -> None:
    """Put the results of training that ship into the quality table of a folder, and into a copy of it.

    Parameters
    ----------
    folder : Path
        A run folder with tables.
    copy : Path
        A folder that holds the same quality table.
    """
    files = encode_tables(read_tables(folder, load_shipped()))
    write_files(folder, {name: files[name] for name in (QUALITY_NAME, QUALITY_CSV_NAME)})
    write_files(copy, {QUALITY_NAME: files[QUALITY_NAME]})


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it is not current")
    if not parser.parse_args().check:
        renew_quality(FOLDER, SHIPPED)
        print(write_report(FOLDER, trained=load_shipped()))
        return 0
    if is_current():
        return 0
    print(f"{FOLDER / REPORT_NAME} is not what this code writes: nox -s reference_report", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
