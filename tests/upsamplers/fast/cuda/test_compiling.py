"""The kernels compile for Hopper, where there is no GPU too, and to its matrix instructions."""

import os
from collections.abc import Mapping
from typing import Any

import pytest

from deconvbench.upsamplers.fast.cuda.blocks import CONFIGURATIONS, Blocks
from deconvbench.upsamplers.fast.cuda.form import has_triton

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_triton(), reason="needs triton, which is not installed"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="Triton interprets kernels here"),
]
# of a program on Hopper
LARGEST_SHARED = 227 * 1024


def compile_kernel(name: str, dtype: str, precision: str, blocks: Blocks, ones: Mapping[str, int]) -> Any:
    """Compile a kernel for contiguous channels, or contiguous columns, and sizes that divide by 16."""
    import triton
    import triton.language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from deconvbench.upsamplers.fast.cuda.kernels import backward, forward

    kernel = getattr(forward if name.endswith("forward") else backward, name)
    types = {"fp32": tl.float32, "bf16": tl.bfloat16, "fp16": tl.float16}
    constants = {
        **blocks.sizes,
        **ones,
        "group": 8,
        "has_bias": True,
        "replicates": False,
        "has_last": "xc" in ones,
        "operand": types[dtype],
        "precision": precision,
    }
    own = {"taps": "fp32", "out": "fp32" if name == "weight_gradient" else dtype}
    signature, found, hints = {}, {}, {}
    for index, parameter in enumerate(kernel.arg_names):
        if parameter in constants:
            signature[parameter] = "constexpr"
            found[index,] = constants[parameter]
            continue
        is_pointer = parameter in {"x", "products", "taps", "bias", "y", "gradient", "out"}
        is_backward = not name.endswith("forward")
        pointer = own.get(parameter, dtype) if is_backward else dtype
        signature[parameter] = f"*{pointer}" if is_pointer else "i32"
        if is_pointer or parameter not in {"batch", "height", "width", "splits", "size_class"}:
            hints[index,] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=found, attrs=hints)
    options = {"num_warps": blocks.warps, "num_stages": blocks.stages}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


CHANNELS_LAST = {"xc": 1, "yc": 1, "gc": 1}
PLANES = {"xw": 1, "yw": 1, "gw": 1}
# most parameters of a size or stride of 1 are constants for Triton
SMALLEST = {**PLANES, "batch": 1, "in_channels": 1, "out_channels": 1, "matrix": 1, "height": 1, "width": 1}


@pytest.mark.parametrize(
    ("name", "dtype", "precision", "ones"),
    [
        pytest.param("tiled_forward", "fp32", "tf32", CHANNELS_LAST, id="tiled, TF32"),
        pytest.param("tiled_forward", "bf16", "ieee", PLANES, id="tiled, bfloat16"),
        pytest.param("minimal_forward", "fp32", "tf32", PLANES, id="minimal, TF32"),
        pytest.param("minimal_forward", "fp16", "ieee", CHANNELS_LAST, id="minimal, float16"),
        pytest.param("minimal_forward", "bf16", "ieee", SMALLEST, id="minimal, one pixel of one channel"),
        pytest.param("input_gradient", "bf16", "tf32", CHANNELS_LAST, id="to the input"),
        pytest.param("weight_gradient", "fp32", "tf32", PLANES, id="to the weight"),
    ],
)
def test_it_compiles_to_matrix_instructions(
    name: str, dtype: str, precision: str, ones: Mapping[str, int]
) -> None:
    compiled = compile_kernel(name, dtype, precision, CONFIGURATIONS[name, True][0], ones)
    assert "wgmma.mma_async" in compiled.asm["ptx"]
    assert compiled.metadata.shared <= LARGEST_SHARED


@pytest.mark.parametrize("name", ["minimal_forward", "input_gradient", "weight_gradient"])
def test_without_tf32_it_compiles_to_exact_multiply_adds(name: str) -> None:
    compiled = compile_kernel(name, "fp32", "ieee", CONFIGURATIONS[name, False][0], CHANNELS_LAST)
    assert "fma.rn.f32" in compiled.asm["ptx"]
    assert "mma.sync" not in compiled.asm["ptx"]
    assert "wgmma" not in compiled.asm["ptx"]
