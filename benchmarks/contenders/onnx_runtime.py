"""ONNX Runtime on the plain graph Gemm-Sigmoid-Gemm-Sigmoid-Gemm-Softmax.

The graph takes float32: the cast and the division by 255 are done in NumPy before, and timed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.given import Given, in_batches

__all__ = ["tasks"]


def model(given: Given) -> bytes:
    """The graph, with its weights."""
    nodes, initializers, x = [], [], "images"
    activations = ["Sigmoid"] * (len(given.weights) - 1) + ["Softmax"]
    for i, ((weight, bias), activation) in enumerate(zip(given.weights, activations, strict=True), 1):
        initializers += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes += [
            helper.make_node("Gemm", [x, f"w{i}", f"b{i}"], [f"a{i}"]),
            helper.make_node(activation, [f"a{i}"], [f"z{i}"]),
        ]
        x = f"z{i}"
    graph = helper.make_graph(
        nodes,
        "mnist",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 784])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", 10])],
        initializers,
    )
    opset = helper.make_opsetid("", 18)
    made = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """A session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if given.threads == "one" else 0
    session = onnxruntime.InferenceSession(model(given), options, providers=["CPUExecutionProvider"])

    def probabilities(images: np.ndarray) -> np.ndarray:
        return session.run(None, {"images": images.astype(np.float32) / 255})[0]

    def label(images: np.ndarray) -> Any:
        return probabilities(images).argmax(axis=1)

    return {
        "labels": lambda size: in_batches(label, given.images, size),
        "probabilities": lambda: probabilities(given.image[None])[0],
        "label": lambda: label(given.image[None])[0],
    }
