"""Whole graphs: control flow, functions, shared weights, half precision, values that are let go of, and names."""

import copy
import gc
import itertools
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import deconvbench
from deconvbench.errors import UsageError
from deconvbench.networks.fusion.snapshot import keep_everything
from deconvbench.networks.onnx import OnnxModule, load_onnx
from deconvbench.networks.onnx.module import Node
from deconvbench.records.audit import Audit
from tests.networks.onnx.graphs import (
    Array,
    assert_same,
    declare,
    draw,
    helper,
    load,
    make_model,
    node,
    numpy_helper,
    onnx,
    run_module,
)

X = draw(1, 4, 12, 12)
W = draw(4, 4, 4, 4, seed=1)


def upsample(x: str, y: str, name: str = "up") -> Any:
    return node("ConvTranspose", [x, "w"], [y], name=name, strides=[2, 2], pads=[1, 1, 1, 1])


def audit(module: nn.Module, x: Array) -> Audit:
    return deconvbench.audit(module, torch.from_numpy(x))


def make_body(nodes: list[Any], inputs: list[Any], outputs: list[str]) -> Any:
    return helper.make_graph(nodes, "body", inputs, [onnx.ValueInfoProto(name=name) for name in outputs])


@pytest.mark.parametrize("is_large", [False, True])
def test_sites_in_branches_are_found(is_large: bool, tmp_path: Path) -> None:
    then = make_body([upsample("x", "a", "big")], [], ["a"])
    other = make_body([node("Resize", ["x", "", "s"], ["b"], name="small", mode="linear")], [], ["b"])
    weights = {"w": W, "s": np.array([1, 1, 2, 2], np.float32)}
    nodes = [node("If", ["c"], ["y"], name="choice", then_branch=then, else_branch=other)]
    inputs = {"x": X, "c": np.array(is_large)}
    module = assert_same(make_model(nodes, inputs, weights=weights), inputs, tmp_path)
    found = deconvbench.audit(module, {"x": torch.from_numpy(X), "c": torch.tensor(is_large)})
    kinds = [(report.site.path, report.site.kind) for report in found.sites]
    large = ("choice.then_branch.big", "transposed_convolution")
    assert kinds == [large if is_large else ("choice.else_branch.small", "resize")]
    assert found.not_covered == () or not any("choice" in text for text in found.not_covered)


@pytest.mark.parametrize("count", [1, 3])
def test_loops_run_as_often_as_they_say(count: int, tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["v", "w3"], ["next"], pads=[1, 1, 1, 1]),
        node("ReduceMean", ["next"], ["mean"], keepdims=0),
        node("Identity", ["going"], ["still"]),
    ]
    inputs = [declare("i", [], np.int64), declare("going", [], np.bool_), declare("v", None)]
    body = make_body(nodes, inputs, ["still", "next", "mean"])
    model = make_model(
        [node("Loop", ["m", "", "x"], ["y", "means"], name="loop", body=body)],
        {"x": X, "m": np.array(count)},
        ["y", "means"],
        {"w3": draw(4, 4, 3, 3)},
    )
    module = assert_same(model, {"x": X, "m": np.array(count)}, tmp_path)
    assert run_module(module, {"x": X, "m": np.array(count)})[1].shape == (count,)


def test_a_loop_that_runs_zero_times_has_no_stacked_outputs(tmp_path: Path) -> None:
    nodes = [node("Identity", ["going"], ["still"]), node("Relu", ["v"], ["next"]), node("Abs", ["v"], ["out"])]
    inputs = [declare("i", [], np.int64), declare("going", [], np.bool_), declare("v", None)]
    body = make_body(nodes, inputs, ["still", "next", "out"])
    loop = node("Loop", ["m", "", "x"], ["y", "all"], name="loop", body=body)
    module = load(make_model([loop], {"x": X, "m": np.array(0)}, ["y", "all"]), tmp_path)
    with pytest.raises(UsageError, match="^loop: the outputs of a loop that runs zero times have no shape$"):
        run_module(module, {"x": X, "m": np.array(0)})


def test_loops_end_with_their_condition(tmp_path: Path) -> None:
    nodes = [
        node("Add", ["v", "v"], ["next"]),
        node("ReduceMax", ["next"], ["largest"], keepdims=0),
        node("Less", ["largest", "limit"], ["still"]),
    ]
    inputs = [declare("i", [], np.int64), declare("going", [], np.bool_), declare("v", None)]
    body = make_body(nodes, inputs, ["still", "next"])
    model = make_model(
        [node("Loop", ["", "yes", "x"], ["y"], body=body)],
        {"x": X},
        weights={"limit": np.array(100, np.float32), "yes": np.array(True)},
    )
    assert_same(model, {"x": X}, tmp_path)


def test_sites_in_loops_have_their_uses_counted(tmp_path: Path) -> None:
    nodes = [
        node("AveragePool", ["v"], ["less"], kernel_shape=[2, 2], strides=[2, 2]),
        upsample("less", "next"),
        node("Identity", ["going"], ["still"]),
    ]
    inputs = [declare("i", [], np.int64), declare("going", [], np.bool_), declare("v", None)]
    body = make_body(nodes, inputs, ["still", "next"])
    model = make_model(
        [node("Loop", ["m", "", "x"], ["y"], name="loop", body=body)], {"x": X}, weights={"w": W, "m": np.array(3)}
    )
    (report,) = audit(load(model, tmp_path), X).sites
    assert (report.site.path, report.site.uses, report.site.is_shared) == ("loop.body.up", 3, True)


def test_what_onnxruntime_computes_as_a_whole_is_named(tmp_path: Path) -> None:
    grid = np.random.default_rng(0).uniform(-1, 1, (1, 24, 24, 2)).astype(np.float32)
    model = make_model([node("GridSample", ["x", "g"], ["y"], name="sample")], {"x": X}, weights={"g": grid})
    module = assert_same(model, {"x": X}, tmp_path)
    assert module.list_unseen() == ["sample: GridSample"]
    assert "sample: GridSample, whose inside is not seen" in audit(module, X).not_covered


def test_scans_take_values_from_around_them(tmp_path: Path) -> None:
    body = helper.make_graph(
        [node("Add", ["sum", "part"], ["next"]), node("Mul", ["next", "factor"], ["out"])],
        "body",
        [declare("sum", [3]), declare("part", [3])],
        [declare("next", [3]), declare("out", [3])],
    )
    inputs = {"s": draw(3), "x": draw(5, 3)}
    nodes = [node("Scan", ["s", "x"], ["last", "all"], name="scan", body=body, num_scan_inputs=1)]
    model = make_model(nodes, inputs, ["last", "all"], {"factor": draw(3)})
    module = assert_same(model, inputs, tmp_path)
    assert module.list_unseen() == ["scan: Scan"]


def test_sites_are_followed_through_what_onnxruntime_computes(tmp_path: Path) -> None:
    nodes = [
        node("Resize", ["x", "", "s"], ["h"], name="up", mode="linear"),
        node("LRN", ["h"], ["k"], name="norm", size=3),
        node("Conv", ["k", "w"], ["y"], name="conv"),
    ]
    weights = {"s": np.array([1, 1, 2, 2], np.float32), "w": W}
    module = assert_same(make_model(nodes, {"x": X}, weights=weights), {"x": X}, tmp_path)
    (report,) = audit(module, X).sites
    assert (report.site.kind, report.site.kernel_size) == ("resize_convolution", (4, 4))
    assert any(one._elsewhere._sessions for one in module.list_nodes())


def test_functions_of_the_model_are_written_out(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 20)]
    function = helper.make_function("own", "twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], imports)
    nodes = [upsample("x", "h"), node("twice", ["h"], ["y"], name="call", domain="own")]
    model = make_model(nodes, {"x": X}, weights={"w": W}, opsets={"own": 1}, functions=[function])
    module = assert_same(model, {"x": X}, tmp_path)
    assert [one.spec.operator for one in module.list_nodes()] == ["ConvTranspose", "Add"]


def test_operators_that_onnxruntime_adds_are_computed(tmp_path: Path) -> None:
    nodes = [upsample("x", "h"), node("Gelu", ["h"], ["y"], name="gelu", domain="com.microsoft")]
    model = make_model(nodes, {"x": X}, weights={"w": W}, opsets={"com.microsoft": 1})
    module = assert_same(model, {"x": X}, tmp_path)
    assert module.list_unseen() == ["gelu: Gelu"]


def test_quantised_weights_are_read(tmp_path: Path) -> None:
    weights: dict[str, Array] = {
        "q": np.random.default_rng(0).integers(-128, 128, (4, 4, 4, 4)).astype(np.int8),
        "scale": np.abs(draw(4)) / 100,
        "zero": np.zeros(4, np.int8),
    }
    nodes = [node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=1), upsample("x", "y")]
    module = assert_same(make_model(nodes, {"x": X}, weights=weights), {"x": X}, tmp_path)
    (report,) = audit(module, X).sites
    assert report.gains_from == "weights"
    assert report.phase_ripple


def test_a_graph_of_quantised_convolutions_runs(tmp_path: Path) -> None:
    weights: dict[str, Array] = {
        "scale": np.array(0.05, np.float32),
        "zero": np.array(0, np.int8),
        "q": np.random.default_rng(0).integers(-128, 128, (4, 4, 3, 3)).astype(np.int8),
        "s": np.array([1, 1, 2, 2], np.float32),
    }
    nodes = [
        node("Resize", ["x", "", "s"], ["h"], name="up", mode="linear"),
        node("QuantizeLinear", ["h", "scale", "zero"], ["i"], name="quantise"),
        node("QLinearConv", ["i", "scale", "zero", "q", "scale", "zero", "scale", "zero"], ["j"], name="conv"),
        node("DequantizeLinear", ["j", "scale", "zero"], ["y"], name="back"),
    ]
    module = assert_same(make_model(nodes, {"x": X}, weights=weights), {"x": X}, tmp_path)
    found = audit(module, X)
    assert [report.site.path for report in found.sites] == ["up"]
    assert "conv: QLinearConv, whose inside is not seen" in found.not_covered


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_audited_in_single(dtype: torch.dtype, tmp_path: Path) -> None:
    kind = onnx.TensorProto.FLOAT16 if dtype == torch.float16 else onnx.TensorProto.BFLOAT16

    def make(kind: int) -> OnnxModule:
        nodes = [
            node("Cast", ["x"], ["h"], to=kind),
            upsample("h", "k"),
            node("LRN", ["k"], ["l"], size=3),
            node("Cast", ["l"], ["y"], to=1),
        ]
        model = make_model(nodes, {"x": X}, weights={"w": W}, opset=20)
        raw = torch.from_numpy(W).to(torch.float32 if kind == 1 else dtype)
        model.graph.initializer[0].CopyFrom(
            onnx.TensorProto(
                name="w", dims=W.shape, data_type=kind, raw_data=raw.view(torch.uint8).numpy().tobytes()
            )
        )
        return load(model, tmp_path)

    half, single = audit(make(kind), X), audit(make(1), X)
    assert not any("single precision" in text for text in half.not_covered)
    assert [report.site.dtype for report in half.sites] == [str(dtype).removeprefix("torch.")]
    assert half.sites[0].effective_ripple == pytest.approx(single.sites[0].effective_ripple, rel=0.02)
    assert half.real == pytest.approx(single.real, rel=0.02)


def test_inputs_may_have_initializers(tmp_path: Path) -> None:
    model = make_model([node("Mul", ["x", "f"], ["y"])], {"x": X, "f": draw(1)}, weights={"f": draw(1, seed=5)})
    module = load(model, tmp_path)
    assert module.describe_inputs() == [("x", (1, 4, 12, 12), torch.float32)]
    x = torch.from_numpy(X)
    torch.testing.assert_close(module(x), x * torch.from_numpy(draw(1, seed=5)))
    torch.testing.assert_close(module(x, f=torch.tensor([2.0])), 2 * x)


def test_several_inputs_and_outputs_have_names(tmp_path: Path) -> None:
    model = make_model(
        [node("Add", ["a", "b"], ["sum"]), node("Sub", ["a", "b"], ["difference"])],
        {"a": declare("a", ["batch", 3, None]), "b": declare("b", ["batch", 3, 7], np.float32)},
        ["sum", "difference"],
    )
    module = load(model, tmp_path)
    assert module.describe_inputs() == [
        ("a", (None, 3, None), torch.float32),
        ("b", (None, 3, 7), torch.float32),
    ]
    a, b = torch.rand(2, 3, 7), torch.rand(2, 3, 7)
    output = module(a, b=b)
    assert list(output) == ["sum", "difference"]
    torch.testing.assert_close(output["difference"], a - b)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "input 'x' is missing"),
        ((1, 2), {}, "2 inputs are given; the graph has 1: x"),
        ((1,), {"z": 2}, "input 'z' is unknown; the graph has: x"),
    ],
)
def test_wrong_arguments_are_named(args: Any, kwargs: Any, message: str, tmp_path: Path) -> None:
    module = load(make_model([node("Relu", ["x"], ["y"])], {"x": X}), tmp_path)
    with pytest.raises(UsageError, match=f"^{message}$"):
        module(*args, **kwargs)


def test_a_node_that_fails_is_named(tmp_path: Path) -> None:
    nodes = [upsample("x", "h"), node("LRN", ["h"], ["y"], name="norm", size=3)]
    module = load(make_model(nodes, {"x": declare("x", [1, None, 8, 8])}, weights={"w": W}), tmp_path)
    with pytest.raises(UsageError, match=r"^up: ConvTranspose failed: RuntimeError: ") as caught:
        module(torch.rand(1, 5, 8, 8))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="^up: ConvTranspose failed"):
        deconvbench.audit(module, torch.rand(1, 5, 8, 8))


def test_what_onnxruntime_cannot_compute_is_named(tmp_path: Path) -> None:
    nodes = [node("LRN", ["x"], ["y"], name="norm", size=3)]
    module = load(make_model(nodes, {"x": declare("x", [None, None])}), tmp_path)
    with pytest.raises(UsageError, match=r"^norm: onnxruntime cannot compute LRN: ") as caught:
        module(torch.rand(2, 2))
    assert "\n" not in str(caught.value)


def test_values_are_let_go_of_after_their_last_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 6
    names = ["x", *(f"v{number}" for number in range(count))]
    nodes = [node("Exp", [one], [other]) for one, other in itertools.pairwise(names)]
    module = load(make_model(nodes, {"x": X}, [names[-1]]), tmp_path)
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def count_alive(_: nn.Module, __: Any, output: Tensor) -> None:
        nonlocal most
        alive.append(weakref.ref(output))
        most = max(most, sum(one() is not None for one in alive))

    for one in module.list_nodes():
        one.register_forward_hook(count_alive)
    gc.disable()
    try:
        module(torch.from_numpy(X))
    finally:
        gc.enable()
    assert most == 2


def test_copies_and_snapshots_leave_the_original_alone(tmp_path: Path) -> None:
    nodes = [upsample("x", "h"), node("LRN", ["h"], ["y"], size=3)]
    module = load(make_model(nodes, {"x": X}, weights={"w": W}), tmp_path)
    x = torch.from_numpy(X)
    before = module(x)
    copied = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert not copied(x).any()
    torch.testing.assert_close(module(x), before)
    with keep_everything(module):
        pass
    torch.testing.assert_close(module(x), before)
    assert [name for name, _ in module.named_parameters()] == ["initializers.w"]


def test_shared_weights_are_shared(tmp_path: Path) -> None:
    nodes = [upsample("x", "h", "one"), node("Relu", ["h"], ["k"]), upsample("k", "y", "two")]
    module = load(make_model(nodes, {"x": X}, weights={"w": W}), tmp_path)
    assert [report.site.is_shared for report in audit(module, X).sites] == [True, True]


def test_arithmetic_with_shapes_and_weights_is_not_taken_for_upsampling(tmp_path: Path) -> None:
    # a weight that is repeated, moved and reshaped as a map would be
    nodes = [
        node("Unsqueeze", ["w1", "axes"], ["a"]),
        node("Expand", ["a", "shape"], ["b"]),
        node("Reshape", ["b", "last"], ["w"]),
        node("Shape", ["x"], ["sides"]),
        node("Conv", ["x", "w"], ["h"], name="conv", pads=[1, 1, 1, 1]),
        node("Reshape", ["h", "sides"], ["y"]),
    ]
    weights = {
        "w1": draw(4, 4, 2, 2),
        "axes": np.array([3, 5]),
        "shape": np.array([4, 4, 2, 2, 2, 2]),
        "last": np.array([4, 4, 4, 4]),
    }
    x = draw(1, 4, 12, 12)
    nodes[4] = node("Conv", ["x", "w"], ["h"], name="conv", pads=[1, 1, 2, 2])
    module = assert_same(make_model(nodes, {"x": x}, weights=weights), {"x": x}, tmp_path)
    assert audit(module, x).sites == ()


def test_random_numbers_follow_the_seed(tmp_path: Path) -> None:
    nodes = [node("RandomNormalLike", ["x"], ["n"]), node("Add", ["x", "n"], ["y"])]
    module = load(make_model(nodes, {"x": X}), tmp_path)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        found.append(module(torch.from_numpy(X)))
    assert torch.equal(*found)
    assert not torch.equal(found[0], module(torch.from_numpy(X)))


def test_lists_of_tensors(tmp_path: Path) -> None:
    nodes = [
        node("SplitToSequence", ["x", "sizes"], ["parts"], axis=1),
        node("SequenceAt", ["parts", "one"], ["second"]),
        node("SequenceInsert", ["parts", "second"], ["more"]),
        node("SequenceLength", ["more"], ["count"]),
        node("ConcatFromSequence", ["more"], ["y"], axis=1),
    ]
    weights = {"sizes": np.array([1, 3]), "one": np.array(1)}
    model = make_model(nodes, {"x": X}, ["y", "count"], weights)
    assert_same(model, {"x": X}, tmp_path)


@pytest.mark.parametrize("kind", ["RandomNormal", "RandomUniform"])
def test_random_numbers_have_the_shape_that_they_are_given(kind: str, tmp_path: Path) -> None:
    nodes = [node(kind, [], ["n"], shape=[1, 4, 12, 12], dtype=11), node("Cast", ["n"], ["m"], to=1)]
    module = load(make_model([*nodes, node("Add", ["x", "m"], ["y"])], {"x": X}), tmp_path)
    numbers = module(torch.from_numpy(X)) - torch.from_numpy(X)
    assert float(numbers.std()) == pytest.approx(1 if kind == "RandomNormal" else 12**-0.5, rel=0.1)


def test_lists_that_are_built_and_taken_apart(tmp_path: Path) -> None:
    nodes = [
        node("SequenceConstruct", ["x", "x2"], ["both"]),
        node("SequenceErase", ["both", "zero"], ["second"]),
        node("SequenceEmpty", [], ["empty"]),
        node("SequenceInsert", ["empty", "x"], ["first"]),
        node("SequenceAt", ["first", "zero"], ["a"]),
        node("SequenceAt", ["second", "zero"], ["b"]),
        node("Sub", ["a", "b"], ["y"]),
        node("ConcatFromSequence", ["both"], ["z"], axis=0, new_axis=1),
        node("SplitToSequence", ["x"], ["slices"], axis=1, keepdims=0),
        node("SequenceAt", ["slices", "zero"], ["u"]),
    ]
    inputs = {"x": X, "x2": draw(1, 4, 12, 12, seed=3)}
    assert_same(make_model(nodes, inputs, ["y", "z", "u"], {"zero": np.array(0)}), inputs, tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "int8", "bool", "float64", "uint8", "complex64"])
def test_data_may_be_written_as_numbers(dtype: str, tmp_path: Path) -> None:
    values = (10 * draw(2, 3)).astype(dtype)
    model = make_model([node("Relu", ["x"], ["y"])], {"x": X})
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model.graph.initializer.append(helper.make_tensor("w", kind, values.shape, values.flatten().tolist()))
    found = load(model, tmp_path).constants["w"]
    assert torch.equal(found, torch.from_numpy(values))


def test_sparse_weights_are_made_dense(tmp_path: Path) -> None:
    values = numpy_helper.from_array(np.array([1.0, 2.0], np.float32), "w")
    model = make_model([node("Add", ["x", "w"], ["y"])], {"x": draw(2, 3)})
    for indices in (np.array([1, 5]), np.array([[0, 1], [1, 2]])):
        del model.graph.sparse_initializer[:]
        model.graph.sparse_initializer.append(
            onnx.SparseTensorProto(values=values, indices=numpy_helper.from_array(indices), dims=[2, 3])
        )
        constants = load(model, tmp_path).constants
        assert constants["w"].tolist() == [[0, 1, 0], [0, 0, 2]]


def test_constants_of_every_kind(tmp_path: Path) -> None:
    nodes = [
        node("Constant", [], ["a"], value_float=2.0),
        node("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0]),
        node("Constant", [], ["c"], value_ints=[1, 3]),
        node("Constant", [], ["d"], value=numpy_helper.from_array(draw(1, 3))),
        node("Mul", ["x", "a"], ["e"]),
        node("Add", ["e", "b"], ["f"]),
        node("Reshape", ["f", "c"], ["g"]),
        node("Sub", ["g", "d"], ["y"]),
    ]
    assert_same(make_model(nodes, {"x": draw(3)}), {"x": draw(3)}, tmp_path)


def test_nothing_of_the_file_is_kept_open(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model([upsample("x", "y")], {"x": X}, weights={"w": W}).SerializeToString())
    module = load_onnx(path)
    path.unlink()
    assert isinstance(module.list_nodes()[0], Node)
    assert module(torch.from_numpy(X)).shape == (1, 4, 24, 24)
