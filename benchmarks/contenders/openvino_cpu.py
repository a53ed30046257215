"""OpenVINO on the CPU, from the graph that ONNX Runtime runs.

It computes in float32 by demand: on some processors its own choice is bfloat16.
"""

from collections.abc import Callable
from typing import Any

import openvino

from benchmarks.contenders.onnx_graph import model
from benchmarks.networks import Cell

__all__ = ["natural"]


def natural(cell: Cell) -> Callable[[], Any]:
    """A compiled model, called on NumPy's array."""
    if cell.dtype != "float32":
        raise ValueError(f"on the CPU it computes in float32, whatever the model says: no {cell.dtype}")
    x = cell.x
    one_thread = {"INFERENCE_NUM_THREADS": 1} if cell.threads == "one" else {}
    options = {"INFERENCE_PRECISION_HINT": "f32"} | one_thread
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model(cell.layers, str(x.dtype))), "CPU", options)
    return lambda: compiled(x)[0]
