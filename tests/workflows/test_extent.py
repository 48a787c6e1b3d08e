"""What a comparison measures: what changed at the sizes of quick, all else at those of smoke."""

from pathlib import Path

import pytest

from deconvbench.errors import UsageError
from deconvbench.grid.grid import load_preset
from deconvbench.upsamplers import get_upsampler, list_upsamplers
from deconvbench.workflows.extent import Extent, Layers, check_choice, choose_extent, find_layers, find_module
from deconvbench.workflows.worktrees import Commit

OWN = Layers(
    changed={"conv_bilinear": ["deconvbench.upsamplers.conv_resize"]},
    same=tuple(name for name in list_upsamplers() if name != "conv_bilinear"),
)
USERS = Layers(changed={}, same=("nearest_conv", "carafe"), modules=("mine",))


def list_heights(extent: Extent) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for case in extent.cases:
        found.setdefault(case.upsampler, set()).add(case.height)
    return found


def test_what_changed_is_measured_at_the_sizes_of_quick_and_the_rest_of_smoke() -> None:
    extent = choose_extent(OWN)
    quick, smoke = (set(load_preset(name).axes["height"]) for name in ("quick", "smoke"))
    found = list_heights(extent)
    assert found.pop("conv_bilinear") == quick
    assert set(found) == set(load_preset("smoke").axes["upsampler"])
    assert set.union(*found.values()) == smoke
    assert "measured at the sizes of quick: conv_bilinear" in extent.lines
    assert "changed: conv_bilinear, by deconvbench.upsamplers.conv_resize" in extent.lines
    [left] = [line for line in extent.lines if line.startswith("not measured, as their code is the same: ")]
    assert "conv_nearest" in left
    assert extent.grid.quality_axes == {}
    assert extent.grid.replicates == 1


def test_a_commit_that_changes_no_layer_says_so() -> None:
    extent = choose_extent(Layers(changed={}, same=(*OWN.same, "conv_bilinear")))
    assert extent.lines[0] == "the code of no layer differs between the commits"
    assert set(list_heights(extent)) == set(load_preset("smoke").axes["upsampler"])


def test_a_keyword_chooses_among_what_would_be_measured() -> None:
    extent = choose_extent(OWN, keyword="conv_bilinear and 64x64 and not train")
    assert [case.case_id for case in extent.cases] == ["conv_bilinear-k3-s2-c64x32-64x64"]


def test_a_keyword_reaches_layers_whose_code_is_the_same() -> None:
    extent = choose_extent(OWN, keyword="carafe")
    assert list_heights(extent) == {"carafe": set(load_preset("smoke").axes["height"])}
    assert "changed, but not measured: conv_bilinear" in extent.lines


def test_layers_that_are_asked_for_are_measured_alone() -> None:
    extent = choose_extent(OWN, settings=["upsampler=carafe,conv_bilinear", "height=32"])
    assert list_heights(extent) == {"carafe": {32}, "conv_bilinear": {32}}


def test_a_preset_holds_for_all_layers() -> None:
    extent = choose_extent(OWN, preset="smoke")
    assert set(list_heights(extent)) == set(load_preset("smoke").axes["upsampler"])
    assert "changed, but not measured: conv_bilinear" in extent.lines


def test_all_layers_of_a_users_repository_are_measured() -> None:
    assert set(list_heights(choose_extent(USERS))) == {"nearest_conv", "carafe"}
    assert set(list_heights(choose_extent(USERS, preset="quick"))) == {"nearest_conv", "carafe"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"keyword": "no_such_case"}, "-k: 'no_such_case' matches none of the cases"),
        ({"settings": ["kernel_size=7", "upsampler=nearest_conv"]}, "no case is left to compare"),
        ({"settings": ["upsampler=carfe"]}, "'carfe' is unknown"),
        ({"preset": "quik"}, "did you mean 'quick'"),
        ({"settings": ["height=x"]}, "--set height"),
    ],
    ids=["keyword", "constraint", "upsampler", "preset", "setting"],
)
def test_what_leaves_nothing_is_refused(words: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_extent(OWN, **words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("preset", "settings", "keyword"),
    [("no", [], ""), (None, ["height"], ""), (None, ["height=0"], ""), (None, [], "a and")],
    ids=["preset", "form", "value", "keyword"],
)
def test_what_is_wrong_is_found_before_any_commit_is_known(
    preset: str | None, settings: list[str], keyword: str
) -> None:
    with pytest.raises(UsageError):
        check_choice(preset, settings, keyword)
    check_choice("smoke", ["upsampler=one_of_the_users", "height=8"], "a and not b")


def make_commit(folder: Path, *, has_products: bool, **texts: str) -> Commit:
    for name, text in texts.items():
        path = folder.joinpath(*name.split("__slash__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Commit(name=folder.name, sha=folder.name, worktree=folder, folders=(folder,), has_products=has_products)


def test_the_layers_of_a_user_are_found_by_their_modules(tmp_path: Path) -> None:
    base, head = (
        make_commit(tmp_path / name, has_products=False, mine="from ops import f\n", ops=f"VALUE = {index}\n")
        for index, name in enumerate(("base", "head"))
    )
    layers = find_layers(base, head, [], {"mine": "mine:build"})
    assert layers == Layers(changed={"mine": ["ops"]}, same=(), modules=("mine", "ops"))


def test_a_repository_without_layers_says_how_to_name_them(tmp_path: Path) -> None:
    commits = [make_commit(tmp_path / name, has_products=False, other="") for name in ("base", "head")]
    with pytest.raises(UsageError, match="name them with --upsampler pkg.mod:factory"):
        find_layers(commits[0], commits[1], [])


PATH = "deconvbench__slash__upsamplers__slash__conv_resize"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["src/deconvbench/upsamplers/fast/native/code.c"], "src/deconvbench/upsamplers/fast/native/code.c"),
        (["constraints.txt"], "constraints.txt"),
        (["src/deconvbench/report/template.html.j2", "docs/upsamplers/a.png", "README.md"], None),
        (["src/deconvbench/upsamplers/README.md"], None),
    ],
    ids=["data", "versions", "elsewhere", "text"],
)
def test_data_of_the_layers_and_versions_count_for_all(
    tmp_path: Path, files: list[str], expected: str | None
) -> None:
    base, head = (make_commit(tmp_path / name, has_products=True, **{PATH: ""}) for name in ("base", "head"))
    layers = find_layers(base, head, files)
    names = {"conv_nearest", "conv_bilinear"}
    assert set(layers.changed) == (names if expected else set())
    assert set(layers.same) == (set() if expected else names)
    assert all(causes == [expected] for causes in layers.changed.values())


def test_a_layer_is_found_where_its_factory_is() -> None:
    assert find_module(get_upsampler("conv_bilinear")) == "deconvbench.upsamplers.conv_resize"
