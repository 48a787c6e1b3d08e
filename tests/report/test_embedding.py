"""What is inlined is named by the policy, and no text ends the element that it is in."""

import hashlib
import json
from importlib.resources import files

import pytest

from deconvbench.report import embedding
from deconvbench.report.embedding import (
    CHART_LIBRARY,
    embed_json,
    embed_picture,
    gather_parts,
    hash_source,
    load_asset,
)

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 & 'x' \"y\""


def test_data_comes_back_and_cannot_end_its_element() -> None:
    text = str(embed_json({HOSTILE: [HOSTILE, 1.5, float("nan"), None, "\udce9"]}, "data"))
    assert text.count("<") == 2
    assert text.isascii()
    body = text.removeprefix('<script type="application/json" id="data">').removesuffix("</script>")
    assert json.loads(body) == {HOSTILE: [HOSTILE, 1.5, None, None, "\udce9"]}


def test_the_policy_names_each_part_and_allows_nothing_else() -> None:
    parts = gather_parts(scripts=("page.js",))
    assert "default-src 'none'" in parts.policy
    assert f"script-src {hash_source(load_asset('page.js'))}" in parts.policy
    assert f"style-src {hash_source(load_asset('page.css'))}" in parts.policy
    assert not any(word in parts.policy for word in ("unsafe", "http", "*"))
    assert parts.scripts == (f"<script>{load_asset('page.js')}</script>",)
    # what the chart library puts into each chart is allowed where there are charts
    assert hash_source(load_asset("vendor/plot-style.css")) in gather_parts(scripts=CHART_LIBRARY).policy
    assert "script-src" not in gather_parts().policy


def test_a_source_is_named_as_browsers_do() -> None:
    # the example of the specification
    assert hash_source("alert('Hello, world.');") == "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"


def test_an_asset_that_would_end_its_element_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Source:
        def joinpath(self, *_: str) -> "Source":
            return self

        def read_text(self, encoding: str) -> str:
            return "'</SCRIPT>'"

    monkeypatch.setattr(embedding, "files", lambda _: Source())
    with pytest.raises(ValueError, match=r"^other\.js: holds the end"):
        load_asset("other.js")


def test_the_vendored_files_are_those_of_the_manifest() -> None:
    folder = files("deconvbench.report").joinpath("assets", "vendor")
    manifest = json.loads(folder.joinpath("manifest.json").read_text(encoding="utf-8"))
    assert {f"vendor/{entry['name']}" for entry in manifest["files"]} == {*CHART_LIBRARY}
    for entry in manifest["files"]:
        content = folder.joinpath(entry["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert len(content) == entry["bytes"]
        assert entry["version"].encode() in content[:200]
        licence = folder.joinpath(entry["license_file"]).read_text(encoding="utf-8")
        assert "Permission to use, copy, modify, and/or distribute" in licence


def test_pictures_are_addresses() -> None:
    assert embed_picture(b"png") == "data:image/png;base64,cG5n"
