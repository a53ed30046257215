"""A network as an ONNX graph: Gemm and an activation for each layer."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.networks import Block
from portable_nn import Dense, Rescaling

__all__ = ["model"]

OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("Identity", {}),
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "elu": ("Elu", {}),
    "gelu": ("Gelu", {}),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
    "softplus": ("Softplus", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softmax": ("Softmax", {}),
}


def model(layers: Iterable[Dense | Rescaling | Block], taken: str) -> bytes:
    """The graph, with its weights, for input of that dtype; the first axis is as long as the input's."""
    layers = list(layers)
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    arrays: dict[str, np.ndarray] = {}
    nodes: list[onnx.NodeProto] = []
    name = "x"
    for i, layer in enumerate(layers, 1):
        nodes += _nodes(layer, str(i), name, dense[0].weight.dtype, arrays)
        (name,) = nodes[-1].output

    def described(name: str, dtype: Any, width: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["N", width])

    first, last = dense[0].weight, dense[-1].weight
    graph = helper.make_graph(
        nodes,
        "network",
        [described("x", taken, first.shape[0])],
        [described(name, last.dtype, last.shape[1])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def _nodes(
    layer: Dense | Rescaling | Block, i: str, x: str, dtype: Any, arrays: dict[str, np.ndarray]
) -> Iterator[onnx.NodeProto]:
    """The nodes of a layer, the last of which gives its output; its numbers go to `arrays`."""
    if isinstance(layer, Rescaling):
        arrays[f"s{i}"] = np.asarray(layer.scale, dtype)
        yield helper.make_node("Cast", [x], [f"f{i}"], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
        yield helper.make_node("Mul", [f"f{i}", f"s{i}"], [f"z{i}"])
        return
    if isinstance(layer, Block):
        yield from _nodes(layer.first, f"{i}a", x, dtype, arrays)
        yield from _nodes(layer.second.with_activation("identity"), f"{i}b", f"z{i}a", dtype, arrays)
        yield helper.make_node("Add", [x, f"z{i}b"], [f"a{i}"])
        yield from _activated(layer.second, i)
        return
    arrays |= {f"w{i}": layer.weight, f"b{i}": layer.bias}
    yield helper.make_node("Gemm", [x, f"w{i}", f"b{i}"], [f"a{i}"])
    yield from _activated(layer, i)


def _activated(layer: Dense, i: str) -> Iterator[onnx.NodeProto]:
    if layer.activation == "silu":
        yield helper.make_node("Sigmoid", [f"a{i}"], [f"g{i}"])
        yield helper.make_node("Mul", [f"a{i}", f"g{i}"], [f"z{i}"])
        return
    operator, attributes = OPERATORS[layer.activation]
    yield helper.make_node(operator, [f"a{i}"], [f"z{i}"], **attributes)
