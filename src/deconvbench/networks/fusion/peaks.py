"""Peak memory of a call of a whole model, measured: it says what was saved, and whether a limit holds."""

from typing import Any

import torch
from torch import nn

from deconvbench.errors import UnsupportedError
from deconvbench.measure.accelerator import TorchAccelerator
from deconvbench.measure.memory import measure_allocated_peak, measure_heap_peak
from deconvbench.networks.fusion.observation import copy_input, find_tensors, keep_state, split_input

# what is set up once is not counted
_WARMUP_CALLS = 2


def measure_model_peak(model: nn.Module, example_input: Any) -> int | str:
    """Measure the most that a call of a model holds, in evaluation mode and without gradients, leaving no trace.

    Parameters
    ----------
    model : nn.Module
        The model.
    example_input : Tensor, tuple, list or dict
        Its arguments; in a dict by name.

    Returns
    -------
    int or str
        Bytes above what was there before the call, the output included and the input not: of the heap, or of the
        accelerator that it runs on. Or the reason why there are none.
    """
    args, kwargs = split_input(copy_input(example_input))
    tensors = [*model.parameters(), *model.buffers(), *find_tensors([args, kwargs])]
    devices = {str(tensor.device) for tensor in tensors if tensor.device.type != "cpu"}
    if len(devices) > 1:
        return f"the model runs on {', '.join(sorted(devices))}, and one device is measured only"

    def call() -> None:
        model(*args, **kwargs)

    with keep_state(model), torch.no_grad():
        for _ in range(_WARMUP_CALLS):
            call()
        try:
            for device in devices:
                peak, _ = measure_allocated_peak(call, TorchAccelerator(device))
                return "the device does not count it" if peak is None else peak
            peak = measure_heap_peak(call)
        except UnsupportedError as error:
            return str(error)
    return "memray is not installed" if peak is None else peak
