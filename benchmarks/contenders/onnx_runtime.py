"""ONNX Runtime on the plain graph."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.contenders.onnx_graph import model
from benchmarks.given import Given, in_batches
from benchmarks.networks import Cell

__all__ = ["natural", "tasks"]


def session(graph: bytes, threads: str) -> onnxruntime.InferenceSession:
    """A session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if threads == "one" else 0
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def natural(cell: Cell) -> Callable[[], Any]:
    """A session, run on NumPy's array."""
    x = cell.x
    run = session(model(cell.layers, str(x.dtype)), cell.threads).run
    return lambda: run(None, {"x": x})[0]


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """The graph takes float32: the cast and the division by 255 are done in NumPy before, and timed."""
    run = session(model(given.net.layers[1:], "float32"), given.threads).run

    def probabilities(images: np.ndarray) -> np.ndarray:
        return run(None, {"x": images.astype(np.float32) / 255})[0]  # type: ignore[no-any-return]

    def label(images: np.ndarray) -> Any:
        return probabilities(images).argmax(axis=1)

    return {
        "labels": lambda size: in_batches(label, given.images, size),
        "probabilities": lambda: probabilities(given.image[None])[0],
        "label": lambda: label(given.image[None])[0],
    }
