"""Rewriting graphs that are written by hand."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.nn import functional

from deconvbench.networks.fusion.graphs import rewrite_graph
from deconvbench.networks.fusion.resizing import resize_conv2d


class Writing:
    """Writes nodes with examples of what they return."""

    def __init__(self) -> None:
        self.graph = Graph()

    def take(self, name: str, *shape: int) -> Node:
        node = self.graph.placeholder(name)
        node.meta["example_value"] = torch.randn(shape)
        return node

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Node:
        node = self.graph.call_function(function, args, kwargs)
        examples = torch.fx.node.map_arg(args, lambda argument: argument.meta["example_value"])
        node.meta["example_value"] = function(*examples, **kwargs)
        return node

    def finish(self, *outputs: Node) -> GraphModule:
        self.graph.output(outputs)
        return GraphModule(torch.nn.Module(), self.graph)


def list_functions(module: GraphModule) -> list[Any]:
    return [node.target for node in module.graph.nodes if node.op == "call_function"]


def test_what_nobody_reads_is_erased() -> None:
    writing = Writing()
    x, weight = writing.take("x", 1, 4, 3, 3), writing.take("weight", 2, 4, 3, 3)
    h = writing.call(functional.interpolate, x, scale_factor=2)
    h = writing.call(functional.pad, writing.call(torch.relu, h), (1, 1, 1, 1))
    module = writing.finish(writing.call(torch.conv2d, h, weight))
    image, taps = torch.randn(1, 4, 3, 3), torch.randn(2, 4, 3, 3)
    expected: tuple[Tensor] = module(image, taps)
    assert rewrite_graph(module) == 1
    assert list_functions(module) == [torch.relu, resize_conv2d]
    assert torch.allclose(module(image, taps)[0], expected[0], atol=1e-5)


def test_a_list_of_views_that_is_written_to_counts() -> None:
    writing = Writing()
    x, weight = writing.take("x", 1, 4, 3, 3), writing.take("weight", 2, 4, 3, 3)
    parts = writing.call(torch.chunk, x, 2, 1)
    h = writing.call(functional.interpolate, x, scale_factor=2)
    writing.call(torch._foreach_mul_, parts, 2.0)
    module = writing.finish(writing.call(torch.conv2d, h, weight, None, 1, 1))
    assert rewrite_graph(module) == 0
    assert list_functions(module) == [torch.chunk, functional.interpolate, torch._foreach_mul_, torch.conv2d]


def test_two_inputs_may_share_their_memory() -> None:
    writing = Writing()
    x, other = writing.take("x", 1, 4, 3, 3), writing.take("other", 1, 4, 3, 3)
    weight = writing.take("weight", 2, 4, 3, 3)
    h = writing.call(functional.interpolate, x, scale_factor=2)
    writing.call(torch._foreach_mul_, [other], 2.0)
    module = writing.finish(writing.call(torch.conv2d, h, weight, None, 1, 1))
    assert rewrite_graph(module) == 0


def test_an_empty_image_is_left_alone() -> None:
    writing = Writing()
    x, weight = writing.take("x", 0, 4, 3, 3), writing.take("weight", 2, 4, 3, 3)
    h = writing.call(functional.interpolate, x, scale_factor=2)
    module = writing.finish(writing.call(torch.conv2d, h, weight, None, 1, 1))
    assert rewrite_graph(module) == 0


def test_what_is_written_for_nothing_is_erased_too() -> None:
    writing = Writing()
    x = writing.take("x", 1, 4, 3, 3)
    h = writing.call(torch.relu, writing.call(functional.interpolate, x, scale_factor=2))
    module = writing.finish(writing.call(torch.mul, h, 2))
    assert rewrite_graph(module) == 0
    assert list_functions(module) == [functional.interpolate, torch.relu, torch.mul]


def test_factors_of_channels_are_followed() -> None:
    writing = Writing()
    x, weight = writing.take("x", 1, 4, 3, 3), writing.take("weight", 2, 4, 3, 3)
    factors = writing.take("factors", 4, 1, 1)
    h = writing.call(torch.mul, writing.call(functional.interpolate, x, scale_factor=2), factors)
    module = writing.finish(writing.call(torch.conv2d, h, weight, None, 1, 1))
    given = (torch.randn(1, 4, 3, 3), torch.randn(2, 4, 3, 3), torch.randn(4, 1, 1))
    expected: tuple[Tensor] = module(*given)
    assert rewrite_graph(module) == 1
    assert list_functions(module) == [torch.mul, resize_conv2d]
    assert torch.allclose(module(*given)[0], expected[0], atol=1e-5)
