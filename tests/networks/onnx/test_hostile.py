"""Files that are broken or meant to do harm: each is refused in one line, and nothing of it is run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deconvbench.errors import UsageError
from deconvbench.networks.onnx import checking, load_onnx
from tests.networks.onnx.graphs import declare, draw, helper, make_model, node, onnx

X = draw(1, 3, 8, 8)
Change = Callable[[Any], None]


def make_good() -> Any:
    """Make a model that is changed then."""
    nodes = [node("Conv", ["x", "w"], ["h"], name="conv"), node("Relu", ["h"], ["y"], name="relu")]
    return make_model(nodes, {"x": X}, weights={"w": draw(4, 3, 3, 3)})


def set_dims(*dims: int) -> Change:
    def change(model: Any) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)

    return change


def cut_data(model: Any) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def remove_initializer(model: Any) -> None:
    del model.graph.initializer[0]


def repeat_initializer(model: Any) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def make_cycle(model: Any) -> None:
    model.graph.node[0].input[0] = "y"


def repeat_output(model: Any) -> None:
    model.graph.node[1].output[0] = "h"


def lose_output(model: Any) -> None:
    model.graph.output[0].name = "z"


def set_type(number: int) -> Change:
    def change(model: Any) -> None:
        model.graph.initializer[0].data_type = number

    return change


def set_opset(version: int) -> Change:
    def change(model: Any) -> None:
        model.opset_import[0].version = version

    return change


def remove_opsets(model: Any) -> None:
    del model.opset_import[:]


def set_format(version: int) -> Change:
    def change(model: Any) -> None:
        model.ir_version = version

    return change


def use_domain(model: Any) -> None:
    model.graph.node[1].domain = "evil.ops"
    model.opset_import.append(helper.make_opsetid("evil.ops", 1))


def use_unknown_operator(model: Any) -> None:
    model.graph.node[1].op_type = "Rm"


def leave_out_input(model: Any) -> None:
    del model.graph.node[0].input[:]


def give_attribute(name: str, value: Any) -> Change:
    def change(model: Any) -> None:
        model.graph.node[0].attribute.append(helper.make_attribute(name, value))

    return change


def set_input_side(side: int) -> Change:
    def change(model: Any) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = side

    return change


def take_sequence(model: Any) -> None:
    value = helper.make_tensor_sequence_value_info("x", 1, [1, 3, 8, 8])
    model.graph.input[0].CopyFrom(value)


def take_text(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING


def take_nothing(model: Any) -> None:
    model.graph.input[0].ClearField("type")


def forget_shape(model: Any) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def refer(location: str, **entries: str) -> Change:
    """Have the weights be in another file."""

    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))

    return change


def nest(depth: int) -> Change:
    def change(model: Any) -> None:
        body = helper.make_graph([node("Relu", ["x"], ["r"])], "g", [], [declare("r", None)])
        for _ in range(depth):
            inner = node("If", ["c"], ["r"], then_branch=body, else_branch=body)
            body = helper.make_graph([inner], "g", [], [declare("r", None)])
            del inner
            body.node[0].attribute[1].g.CopyFrom(helper.make_graph([], "e", [], []))
        model.graph.node[1].CopyFrom(body.node[0])

    return change


def call_itself(model: Any) -> None:
    call = node("again", ["a"], ["b"], domain="own")
    function = helper.make_function("own", "again", ["a"], ["b"], [call], [helper.make_opsetid("own", 1)])
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[1].CopyFrom(node("again", ["h"], ["y"], domain="own"))


def call_many(model: Any) -> None:
    """Thirty functions, each of which calls the next one twice."""
    opsets = [helper.make_opsetid("own", 1), helper.make_opsetid("", 20)]
    for number in range(14):
        name = "Relu" if number == 13 else f"f{number + 1}"
        domain = "" if number == 13 else "own"
        calls = [node(name, [f"v{n}"], [f"v{n + 1}"], domain=domain) for n in range(4)]
        model.functions.append(helper.make_function("own", f"f{number}", ["v0"], ["v4"], calls, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[1].CopyFrom(node("f0", ["h"], ["y"], domain="own"))


def fill_constant(model: Any) -> None:
    tensor = onnx.TensorProto(dims=[2**40], data_type=1, raw_data=b"1234")
    model.graph.node.insert(0, node("Constant", [], ["big"], value=tensor))


def make_sparse(model: Any) -> None:
    values = onnx.TensorProto(name="s", dims=[1], data_type=1, raw_data=b"1234")
    indices = onnx.TensorProto(dims=[1], data_type=7, raw_data=b"12345678")
    model.graph.sparse_initializer.append(
        onnx.SparseTensorProto(values=values, indices=indices, dims=[2**20, 2**20])
    )


def make_sparse_outside(model: Any) -> None:
    make_sparse(model)
    sparse = model.graph.sparse_initializer[0]
    sparse.dims[:] = [2, 2]
    sparse.indices.raw_data = (2**40).to_bytes(8, "little")


def remove_graph(model: Any) -> None:
    model.ClearField("graph")


def lose_name(model: Any) -> None:
    model.graph.initializer[0].name = ""


def lose_output_name(model: Any) -> None:
    model.graph.output[0].name = ""


def define_twice(model: Any) -> None:
    call_itself(model)
    model.functions.append(model.functions[0])


def hold_graphs(model: Any) -> None:
    graph = helper.make_graph([], "g", [], [])
    give_attribute("graphs", [graph, graph])(model)


def write_text(model: Any) -> None:
    model.graph.node.insert(0, node("Constant", [], ["t"], value_string="text"))


def use_empty_weights(model: Any) -> None:
    model.graph.initializer[0].dims[:] = [0, 3, 3, 3]
    model.graph.initializer[0].raw_data = b""


CHANGES: dict[str, tuple[Change, str]] = {
    "huge tensor": (set_dims(2**31, 2**31), "initializer 'w': declares 18446744073709551616 bytes; at most"),
    "negative side": (set_dims(4, 3, -3, -3), "initializer 'w': has a negative side"),
    "other shape": (set_dims(4, 3, 3, 4), "initializer 'w': declares the shape [4, 3, 3, 4], whose data are not"),
    "data cut off": (cut_data, "initializer 'w': declares the shape [4, 3, 3, 3], whose data are not"),
    "huge constant": (fill_constant, "Constant: attribute value: declares 4398046511104 bytes"),
    "huge sparse tensor": (make_sparse, "initializer 's': declares 4398046511104 bytes"),
    "sparse tensor with values outside": (make_sparse_outside, "is not valid: Sparse tensor"),
    "no graph": (remove_graph, "there is no graph in it"),
    "initializer without a name": (lose_name, "an initializer has no name"),
    "output without a name": (lose_output_name, "an output has no name"),
    "two functions of a name": (define_twice, "two of its functions have one name"),
    "several graphs in one attribute": (hold_graphs, "conv: has several graphs in one attribute"),
    "constant text": (write_text, "a Constant of text is not supported"),
    "missing initializer": (remove_initializer, "value 'w' is used before a node makes it"),
    "two initializers of a name": (repeat_initializer, "two initializers have the name 'w'"),
    "cycle": (make_cycle, "value 'y' is used before a node makes it"),
    "two nodes make one value": (repeat_output, "two nodes make the value 'h'"),
    "output that nobody makes": (lose_output, "value 'z' is used before a node makes it"),
    "unknown type": (set_type(77), "initializer 'w': is of type 77"),
    "text as weights": (set_type(8), "initializer 'w': is of type STRING"),
    "four bits": (set_type(22), "initializer 'w': is of type INT4"),
    "old opset": (set_opset(6), "opset 6; from 7 to"),
    "new opset": (set_opset(1000), "opset 1000; from 7 to"),
    "no opset": (remove_opsets, "does not say which version"),
    "new format": (set_format(10**6), "is not valid: "),
    "no format": (set_format(0), "is not valid: "),
    "custom operator": (use_domain, "relu: operator 'Relu' of 'evil.ops' is a custom one"),
    "unknown operator": (use_unknown_operator, "is not valid: No Op registered for Rm"),
    "no inputs": (leave_out_input, "is not valid: "),
    "wrong attribute": (give_attribute("strides", "yes"), "is not valid: "),
    "unknown attribute": (give_attribute("evil", 1), "is not valid: "),
    "negative input": (set_input_side(-5), "input 'x': has a side of -5"),
    "sequence": (take_sequence, "input 'x': is not a tensor but sequence"),
    "text": (take_text, "input 'x': is of type 8 of ONNX"),
    "nothing": (take_nothing, "input 'x': is not a tensor but nothing"),
    "no shape": (forget_shape, "input 'x': has no shape"),
    "nested": (nest(20), "graphs are nested more than 16 deep"),
    "function that calls itself": (call_itself, "function 'again' calls itself"),
    "functions that grow": (call_many, "more than 200000 nodes, with its functions written out"),
    "folder above": (refer("../secret"), "external data '../secret' are outside of the folder"),
    "absolute path": (refer("/etc/passwd"), "external data '/etc/passwd' are outside of the folder"),
    "path of Windows": (refer("C:\\secret"), "are outside of the folder"),
    "folder above, of Windows": (refer("..\\secret"), "are outside of the folder"),
    "no location": (refer(""), "external data '' are outside of the folder"),
    "folder as data": (refer("."), "are outside of the folder"),
    "null in a path": (refer("a\0b"), "are outside of the folder"),
    "no such file": (refer("weights"), "external data 'weights': No such file"),
    "link": (refer("link"), "external data 'link' are behind a link"),
    "folder behind a link": (refer("linked/secret"), "external data 'linked/secret' are behind a link"),
    "pipe": (refer("pipe"), "external data 'pipe' are not a file"),
    "short file": (refer("short"), "external data 'short' have 8 bytes; 432 are needed"),
    "offset behind the end": (refer("whole", offset="4"), "external data 'whole' have 432 bytes; 436 are needed"),
    "negative offset": (refer("whole", offset="-4"), "offset '-4' of its external data is not a whole number"),
    "huge length": (
        refer("whole", length=str(2**50)),
        "says 1125899906842624 bytes of external data, and its shape",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of a model, with files around it that are not to be read."""
    here = tmp_path / "model"
    here.mkdir()
    (tmp_path / "secret").write_bytes(bytes(432))
    (here / "short").write_bytes(bytes(8))
    (here / "whole").write_bytes(bytes(432))
    (here / "link").symlink_to(tmp_path / "secret")
    (here / "linked").symlink_to(tmp_path)
    os.mkfifo(here / "pipe")
    return here


def refuse(path: Path, **options: Any) -> str:
    """Load what cannot be loaded, and give the message."""
    with pytest.raises(UsageError) as caught:
        load_onnx(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 600
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_wrong_is_said_in_one_line(name: str, folder: Path) -> None:
    change, expected = CHANGES[name]
    model = make_good()
    change(model)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert expected in refuse(path)


@pytest.mark.parametrize(
    "change",
    [use_empty_weights, give_attribute("strides", [0, 0]), set_dims(4, 9, 3, 1)],
    ids=["no channels", "no stride", "other channels"],
)
def test_what_is_only_wrong_when_it_runs_is_said_with_the_name_of_the_node(change: Change, tmp_path: Path) -> None:
    model = make_good()
    change(model)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    problem = run_or_refuse(path)
    assert problem.startswith("conv: Conv failed: ")
    assert "\n" not in problem


def test_the_model_that_is_changed_is_good(folder: Path) -> None:
    model = make_good()
    refer("whole", offset="0", length="432")(model)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert not load_onnx(path).constants["w"].any()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\x08", "is not an ONNX file, or is cut off", id="one byte"),
        pytest.param(np.random.default_rng(0).bytes(4096), "is not an ONNX file, or is cut off", id="random"),
        pytest.param(b"PK\x03\x04" + bytes(100), "", id="zip"),
        pytest.param(bytes(64), "is not an ONNX file, or is cut off", id="zeros"),
        pytest.param(b"\x80\x04\x95" + b"cos\nsystem\n(S'id'\ntR.", "is not an ONNX file", id="pickle"),
    ],
)
def test_files_of_other_kinds(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert expected in refuse(path)


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    whole, path = make_good().SerializeToString(), tmp_path / "model.onnx"
    for end in range(1, len(whole), 7):
        path.write_bytes(whole[:end])
        assert refuse(path)


def test_flipped_bytes_end_in_one_line_or_in_a_model(tmp_path: Path) -> None:
    whole, path = make_good().SerializeToString(), tmp_path / "model.onnx"
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            changed[place] = random.integers(256)
        path.write_bytes(bytes(changed))
        problem = run_or_refuse(path)
        refused += bool(problem)
        assert "\n" not in problem
    assert 0 < refused < 300


def run_or_refuse(path: Path) -> str:
    """Load and run a file; give the message where that is refused."""
    try:
        module = load_onnx(path)
        with torch.no_grad():
            module(torch.zeros(1, 3, 8, 8))
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_what_is_not_a_file(kind: str, folder: Path) -> None:
    path = {"missing": folder / "nothing.onnx", "folder": folder, "pipe": folder / "pipe"}[kind]
    expected = "No such file" if kind == "missing" else "is not a file"
    assert expected in refuse(path)


def test_files_that_are_too_large_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(2**33)
    assert "has 8589934592 bytes; at most 2147483647 are read" in refuse(path)
    path.write_bytes(make_good().SerializeToString())
    assert "bytes; at most 100 are read" in refuse(path, max_bytes=100)


def test_all_tensors_together_have_a_limit(tmp_path: Path) -> None:
    weights = {f"w{number}": draw(4, 3, 3, 3) for number in range(4)}
    nodes = [node("Identity", ["x"], ["y"])]
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(nodes, {"x": X}, weights=weights).SerializeToString())
    assert len(load_onnx(path, max_bytes=4096).constants) == 4
    model = make_model(nodes, {"x": X}, weights={})
    for number in range(4):
        model.graph.initializer.append(make_good().graph.initializer[0])
        model.graph.initializer[number].name = f"w{number}"
        model.graph.initializer[number].ClearField("raw_data")
        model.graph.initializer[number].data_location = 1
        model.graph.initializer[number].external_data.append(
            onnx.StringStringEntryProto(key="location", value="whole")
        )
    (tmp_path / "whole").write_bytes(bytes(432))
    path.write_bytes(model.SerializeToString())
    assert "initializer 'w2': declares 432 bytes; at most 336 are read" in refuse(path, max_bytes=1200)


def test_nodes_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "MOST_NODES", 10)
    nodes = [node("Relu", ["x" if number == 0 else f"v{number}"], [f"v{number + 1}"]) for number in range(11)]
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(nodes, {"x": X}, ["v11"]).SerializeToString())
    assert refuse(path) == "more than 10 nodes"


ODD = "\x1b[2J\nüber.all/..\u202e%s{}"


def test_odd_names_are_shown_without_control_characters(tmp_path: Path) -> None:
    nodes = [
        node("Conv", [ODD, "w"], ["h"], name=ODD),
        node("Relu", ["h"], ["y"], name=ODD),
        node("Relu", ["y"], ["z"], name=""),
        node("Relu", ["z"], ["last"], name="initializers"),
        node("Relu", ["last"], ["end"], name="x" * 10_000),
    ]
    path = tmp_path / "model.onnx"
    model = make_model(nodes, {ODD: X}, ["end"], {"w": draw(4, 3, 3, 3)})
    path.write_bytes(model.SerializeToString())
    module = load_onnx(path)
    names = [name for name, _ in module.named_children()]
    assert all(name.isprintable() and len(name) <= 130 for name in names)
    assert names[:4] == ["�[2J�über.all/..�%s{}", "�[2J�über.all/..�%s{}_2", "Relu_2", "initializers"]
    assert [name for name, _, _ in module.describe_inputs()] == [ODD]
    with torch.no_grad():
        assert module(**{ODD: torch.from_numpy(X)}).shape == (1, 4, 6, 6)
    with pytest.raises(UsageError) as caught:
        module()
    assert "\n" not in str(caught.value)
    assert "input '�[2J�über" in str(caught.value)
