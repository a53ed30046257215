"""Layers as a graph of ONNX, made with the `onnx` package: for files, and for compilers that take such graphs."""

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.errors import FormatError, NetworkError
from portable_nn.expressions import expression_of
from portable_nn.layers import Graph, Layer, Layers, Normalize, Shape, sample_shapes
from portable_nn.nodes import OPSET, RMS, as_nodes
from portable_nn.operators import find
from portable_nn.operators.own import DOMAIN
from portable_nn.readers.onnx import Node, Value

__all__ = ["PRODUCER", "exported"]

PRODUCER = "portable_nn"

OLDEST = 13
"""The oldest opset of a `Graph` that is written."""

IR_VERSION = {20: 9, 23: 11}


def exported(
    layers: Layers,
    dtype: str,
    *,
    inputs: Mapping[str, Value] | None = None,
    outputs: Sequence[Any] | None = None,
) -> Any:
    """Layers of NumPy weights as an `onnx.ModelProto`, which nobody has checked, for any number of samples.

    Parameters
    ----------
    layers : tuple of layers
    dtype : str
        Of the weights, and of floating inputs and outputs.
    inputs : dict of str to Value, optional
        Those of a first `Graph` that takes several, or integers; else there is one floating one, `input`.
    outputs : sequence of dtypes, optional
        Of each output, where not all are floating.

    Returns
    -------
    onnx.ModelProto
        Its output is `output`, or the several of a last `Graph` by their names.

    Raises
    ------
    FormatError
        If a layer has no counterpart in ONNX, or the package `onnx` is not installed.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> from portable_nn.exporting import exported
    >>> [node.op_type for node in exported(pnn.load("mnist").layers, "float32").graph.node]
    ['Mul', 'Gemm', 'Sigmoid', 'Gemm', 'Sigmoid', 'Gemm', 'Softmax']
    """
    try:
        import onnx
    except ImportError as error:
        raise FormatError("ONNX is written by the package onnx: pip install 'portable-nn[onnx]'") from error
    try:
        writer = _Writer(layers, dtype, inputs)
    except NetworkError as error:
        raise FormatError(f"a layer cannot be written: {error}") from error
    helper = onnx.helper

    def info(name: str, dtype: Any, shape: tuple[int | str | None, ...] | None) -> Any:
        sizes = ["batch", *(("features",) if shape is None else shape)]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), sizes)

    taken = [
        info(name, dtype if value.is_floating else value.dtype, value.shape)
        for name, value in writer.inputs.items()
    ]
    given = [
        info(name, each, shape)
        for (name, shape), each in zip(writer.outputs.items(), outputs or repeat(dtype), strict=False)
    ]
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in writer.constants.items()]
    nodes = [_proto(onnx, node) for node in writer.nodes]
    opsets = [helper.make_opsetid(domain, version) for domain, version in writer.opsets.items()]
    return helper.make_model(
        helper.make_graph(nodes, PRODUCER, taken, given, tensors),
        opset_imports=opsets,
        producer_name=PRODUCER,
        ir_version=IR_VERSION.get(writer.opsets[""], 9),
    )


def _proto(onnx: Any, node: Node) -> Any:
    domain, _, name = node.operator.rpartition(".")
    attributes = {
        key: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for key, value in node.attributes.items()
    }
    return onnx.helper.make_node(name, node.inputs, node.outputs, node.name or None, domain=domain, **attributes)


class _Writer:
    """The nodes and constants of layers, one after the other."""

    def __init__(self, layers: Layers, dtype: str, inputs: Mapping[str, Value] | None) -> None:
        graphs = [layer for layer in layers if isinstance(layer, Graph)]
        rms = any(isinstance(layer, Normalize) and not layer.centred for layer in layers)
        self.opsets = {"": RMS if rms else OPSET}
        for graph in graphs:
            self.opsets = self.opsets | graph.opsets
        self.opsets.pop(DOMAIN, None)
        if (
            any(graph.opsets.get("", self.opsets[""]) != self.opsets[""] for graph in graphs)
            or self.opsets[""] < OLDEST
        ):
            raise FormatError(f"graphs of one opset, from {OLDEST} on, are written, these are of {self.opsets}")
        self._dtype = np.dtype(dtype)
        self.nodes: list[Node] = []
        self.constants: dict[str, NumPyArray] = {}
        self._taken = {
            f"layer{i}_{name}"
            for i, graph in enumerate(layers)
            if isinstance(graph, Graph)
            for name in (*graph.constants, *(name for node in graph.nodes for name in node.outputs))
        }
        shapes = sample_shapes(layers)
        self.inputs = inputs or {"input": Value("input", dtype, shapes[0])}
        name = first = next(iter(self.inputs))
        for i, layer in enumerate(layers):
            self._prefix = f"layer{i}"
            last = i == len(layers) - 1
            if last and isinstance(layer, Graph) and len(layer.outputs) > 1:
                self._graph(layer, name)
                self.outputs = {each: layer.shapes.get(each) for each in layer.outputs}
                return
            name = self._layer(layer, name, shapes[i])
        output = "result" if "output" in self.inputs else "output"
        self.outputs = {output: shapes[0] if shapes[-1] is None else shapes[-1]}
        self._end(name, first, output)

    def _end(self, name: str, first: str, output: str) -> None:
        """The last value is the output."""
        if name == first or not self.nodes or name not in self.nodes[-1].outputs:
            self.nodes.append(Node("Identity", (name,), (output,)))
            return
        *rest, last = self.nodes
        outputs = tuple(output if each == name else each for each in last.outputs)
        self.nodes = [*rest, Node(last.operator, last.inputs, outputs, last.attributes, last.name)]

    def call(self, operator: str, *inputs: str | float | NumPyArray, **attributes: Any) -> str:
        """A node, whose inputs are values or constants; the value that it makes."""
        expression = expression_of(operator, self._dtype.name)
        if expression is not None:
            return expression(self.call, *inputs, **attributes)
        find(operator, self.opsets)
        names = tuple(each if isinstance(each, str) else self._constant(each) for each in inputs)
        made = self._free("", len(self.nodes))
        self.nodes.append(Node(operator, names, (made,), attributes))
        return made

    def _constant(self, value: float | NumPyArray) -> str:
        name = self._free("constant", len(self.constants))
        dtype = getattr(value, "dtype", self._dtype)
        self.constants[name] = np.asarray(value, np.result_type(dtype, self._dtype))
        return name

    def _free(self, kind: str, n: int) -> str:
        """A name that no value of a graph has."""
        while (name := f"{self._prefix}_{kind}{n}") in self._taken:
            n += 1
        self._taken.add(name)
        return name

    def _layer(self, layer: Layer, x: str, shape: Shape | None) -> str:
        return self._graph(layer, x) if isinstance(layer, Graph) else as_nodes(self.call, x, layer, shape)

    def _graph(self, graph: Graph, x: str) -> str:
        """The nodes of a graph, with the names of its values made its own."""
        given = {value.name for value in graph.inputs if not value.is_floating or value is not graph.inputs[0]}
        if not given <= self.inputs.keys():
            raise FormatError(
                f"a graph that takes {', '.join(sorted(given))} is written where it is the first layer"
            )
        renamed = {graph.inputs[0].name: x} | {value.name: value.name for value in graph.inputs[1:]}
        several = len(graph.outputs) > 1

        def own(name: str) -> str:
            return name if not name or (several and name in graph.outputs) else f"{self._prefix}_{name}"

        for name, value in graph.constants.items():
            renamed[name] = own(name)
            self.constants[renamed[name]] = value.astype(self._dtype)
        for node in graph.nodes:
            inputs = tuple(renamed.get(name, own(name)) for name in node.inputs)
            outputs = tuple(map(own, node.outputs))
            if expression_of(node.operator, self._dtype.name):
                inputs, node = (self.call(node.operator, *inputs, **node.attributes),), Node("Identity", (), ())
            self.nodes.append(Node(node.operator, inputs, outputs, node.attributes, own(node.name)))
        for name in graph.outputs:
            if renamed.get(name, own(name)) != own(name):  # an input, or a constant
                self.nodes.append(Node("Identity", (renamed[name],), (own(name),)))
        return own(graph.outputs[0])
