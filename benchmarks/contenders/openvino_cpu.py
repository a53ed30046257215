"""OpenVINO on the CPU, from the graph that ONNX Runtime runs.

It computes in float32 by demand: on some processors its own choice is bfloat16.
"""

from collections.abc import Callable
from typing import Any

import openvino

from benchmarks.contenders.onnx_runtime import model
from benchmarks.networks import Cell

__all__ = ["natural"]


def natural(cell: Cell) -> Callable[[], Any]:
    """A compiled model, called on NumPy's array."""
    x = cell.x
    options = {"INFERENCE_PRECISION_HINT": "f32"} | ({"INFERENCE_NUM_THREADS": 1} if cell.threads == "one" else {})
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model(cell.layers, str(x.dtype))), "CPU", options)
    return lambda: compiled(x)[0]
