"""Loading: the extra, weights in other files, large weights, and what `describe_inputs` says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deconvbench.errors import UsageError
from deconvbench.networks.onnx import libraries, load_onnx
from tests.networks.onnx.graphs import assert_same, declare, draw, make_model, node, onnx, run_module

X = draw(1, 8, 6, 6)
W = draw(8, 8, 4, 4, seed=1)


def make_two(size: int) -> tuple[Any, dict[str, np.ndarray[Any, Any]]]:
    weights = {"w1": draw(8, size, 4, 4), "w2": draw(size, 8, 4, 4, seed=1), "b": draw(8)}
    nodes = [
        node("ConvTranspose", ["x", "w1"], ["h"], strides=[2, 2]),
        node("ConvTranspose", ["h", "w2", "b"], ["y"], strides=[2, 2]),
    ]
    return make_model(nodes, {"x": X}, weights=weights), weights


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_the_extra_is_named_where_it_is_missing(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make_two(4)[0].SerializeToString())
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError) as caught:
        load_onnx(path)
    assert str(caught.value).startswith(f"{missing}: ")
    assert str(caught.value).endswith("ONNX files need the extra: pip install 'deconvbench[onnx]'")


def test_a_package_that_is_not_installed_is_told_from_one_that_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_onnx.py").write_text("import no_such_package_at_all\n")
    with pytest.raises(UsageError, match="^broken_onnx: cannot be imported"):
        libraries.import_library("broken_onnx")
    with pytest.raises(UsageError, match="^no_such_package_at_all: is not installed; "):
        libraries.import_library("no_such_package_at_all")


def test_before_version_4_weights_that_are_no_inputs_are_read(tmp_path: Path) -> None:
    model = make_model(
        [node("ConvTranspose", ["x", "w"], ["y"])], {"x": X}, weights={"w": W}, opset=7, ir_version=3
    )
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert [name for name, _, _ in load_onnx(tmp_path / "model.onnx").describe_inputs()] == ["x"]


@pytest.mark.process
@pytest.mark.parametrize("name", ["deconvbench", "deconvbench.networks.inspection", "deconvbench.networks.onnx"])
def test_nothing_of_the_extra_is_imported_before_a_file_is_loaded(name: str) -> None:
    code = f"import sys, {name}; print({{one for one in sys.modules if one.startswith('onnx')}} or 'none')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "none\n"


@pytest.mark.parametrize("size", [8, 2048], ids=["small", "large"])
@pytest.mark.parametrize("is_external", [False, True], ids=["inside", "outside"])
def test_weights_of_any_size_inside_and_outside_of_the_file(size: int, is_external: bool, tmp_path: Path) -> None:
    model, weights = make_two(size)
    wanted = assert_same(model, {"x": X}, tmp_path)
    path = tmp_path / "other.onnx"
    if is_external:
        onnx.save_model(
            model,
            str(path),
            save_as_external_data=True,
            location="weights.bin",
            size_threshold=0,
            convert_attribute=True,
        )
        assert (tmp_path / "weights.bin").stat().st_size >= sum(one.nbytes for one in weights.values())
    else:
        path.write_bytes(model.SerializeToString())
    module = load_onnx(path)
    assert set(module.constants) == set(weights)
    assert [name for name, _, _ in module.describe_inputs()] == ["x"]
    for name, weight in weights.items():
        assert torch.equal(module.constants[name], torch.from_numpy(weight))
    (ours,), (theirs,) = run_module(module, {"x": X}), run_module(wanted, {"x": X})
    assert torch.equal(ours, theirs)


def test_external_data_may_be_in_a_folder_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = make_two(4)
    (tmp_path / "weights").mkdir()
    onnx.save_model(
        model, str(tmp_path / "m.onnx"), save_as_external_data=True, location="weights/all", size_threshold=0
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load_onnx("../m.onnx")(torch.from_numpy(X)).shape == (1, 8, 30, 30)


def test_open_sides_are_none(tmp_path: Path) -> None:
    inputs = {
        "a": declare("a", ["n", 3, None, 7]),
        "b": declare("b", [1, 0, -1], np.int64),
        "c": declare("c", [], np.float16),
    }
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model([node("Relu", ["a"], ["y"])], inputs).SerializeToString())
    assert load_onnx(path).describe_inputs() == [
        ("a", (None, 3, None, 7), torch.float32),
        ("b", (1, None, None), torch.int64),
        ("c", (), torch.float16),
    ]


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 16, 18, 21])
def test_opsets_from_the_oldest_on(opset: int, tmp_path: Path) -> None:
    nodes = [
        node("ConvTranspose", ["x", "w"], ["h"], strides=[2, 2], auto_pad="SAME_UPPER"),
        node("Softmax", ["h"], ["s"], axis=1),
        node("Relu", ["s"], ["r"]),
        node("Transpose", ["r"], ["y"], perm=[0, 2, 3, 1]),
    ]
    model = make_model(nodes, {"x": X}, weights={"w": W}, opset=opset, ir_version=4 if opset < 13 else 9)
    assert_same(model, {"x": X}, tmp_path)


def test_weights_of_the_oldest_format_are_inputs_too(tmp_path: Path) -> None:
    model = make_model(
        [node("ConvTranspose", ["x", "w"], ["y"])], {"w": W, "x": X}, weights={"w": W}, opset=7, ir_version=3
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    module = load_onnx(path)
    assert [name for name, _, _ in module.describe_inputs()] == ["x"]
    assert module(torch.from_numpy(X)).shape == (1, 8, 9, 9)


@pytest.mark.parametrize("value", [0, -1, 1.5, "4 GB", None])
def test_the_limit_is_a_number(value: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="^max_bytes: "):
        load_onnx(tmp_path / "model.onnx", max_bytes=value)
