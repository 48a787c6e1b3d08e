"""ONNX files as networks of torch: a module that executes a graph node by node, for audits.

Needs the packages ``onnx`` and ``onnxruntime`` (the extra ``onnx``), which are imported when a file is loaded.
"""

from deconvbench.networks.onnx.loading import load_onnx
from deconvbench.networks.onnx.module import OnnxModule

__all__ = ["OnnxModule", "load_onnx"]
