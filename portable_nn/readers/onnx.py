"""ONNX model files: graphs of named operators, and their constants as NumPy arrays.

The numbers and names of fields are those of ONNX's `onnx.proto`. What computes nothing (documentation, shapes of
intermediate values, training) is skipped.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.readers.buffers import reading
from portable_nn.readers.onnx_tensors import DTYPES, ENTRY, TENSOR, Beside, read_tensor
from portable_nn.readers.protobuf import Schema, read_message

__all__ = ["Graph", "Model", "Node", "Value", "read_model"]

LARGEST = 2**31
"""Bytes of a protocol buffer, by its own rules."""

DIMENSION: Schema = {1: ("dim_value", "int", False), 2: ("dim_param", "text", False)}
SHAPE: Schema = {1: ("dim", DIMENSION, True)}
TENSOR_TYPE: Schema = {1: ("elem_type", "int", False), 2: ("shape", SHAPE, False)}
TYPE: Schema = {1: ("tensor_type", TENSOR_TYPE, False)}
VALUE: Schema = {1: ("name", "text", False), 2: ("type", TYPE, False)}
GRAPH: dict[int, tuple[str, Any, bool]] = {
    2: ("name", "text", False), 5: ("initializer", TENSOR, True), 11: ("input", VALUE, True),
    12: ("output", VALUE, True), 15: ("sparse_initializer", "bytes", True),
}  # fmt: skip
ATTRIBUTE: Schema = {
    1: ("name", "text", False), 2: ("f", "float", False), 3: ("i", "int", False), 4: ("s", "bytes", False),
    5: ("t", TENSOR, False), 6: ("g", GRAPH, False), 7: ("floats", "float", True), 8: ("ints", "int", True),
    9: ("strings", "bytes", True), 20: ("type", "int", False),
}  # fmt: skip
NODE: Schema = {
    1: ("input", "text", True), 2: ("output", "text", True), 3: ("name", "text", False),
    4: ("op_type", "text", False), 5: ("attribute", ATTRIBUTE, True), 7: ("domain", "text", False),
}  # fmt: skip
GRAPH[1] = "node", NODE, True
OPSET: Schema = {1: ("domain", "text", False), 2: ("version", "int", False)}
MODEL: Schema = {
    2: ("producer_name", "text", False), 7: ("graph", GRAPH, False), 8: ("opset_import", OPSET, True),
    14: ("metadata_props", ENTRY, True),
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """An input or output of a graph.

    Attributes
    ----------
    name : str
    dtype : str
        As NumPy names it, ``"str"`` of strings; "" if it is not told, or no tensor of a dtype that is read.
    shape : tuple of int, str or None, or None
        A name is a length that is not fixed, None one without a name. None in place of all: it is not told.

    Examples
    --------
    >>> from portable_nn.readers.onnx import Value
    >>> Value("x", "float32", ("batch", 4)).shape[1:]
    (4,)
    """

    name: str
    dtype: str = ""
    shape: tuple[int | str | None, ...] | None = None

    @property
    def is_floating(self) -> bool:
        """Whether its numbers are floating, or may be."""
        return self.dtype == "" or "float" in self.dtype


@dataclass(frozen=True)
class Node:
    """One call of an operator.

    Attributes
    ----------
    operator : str
        With its domain before it if that is not ONNX's own: ``"Gemm"``, ``"ai.onnx.ml.Scaler"``.
    inputs, outputs : tuple of str
        Names of values; "" for one that is left out.
    attributes : dict of str to object
        int, float, str, tuples of them, NumPy arrays and graphs.
    name : str

    Examples
    --------
    >>> from portable_nn.readers.onnx import Node
    >>> Node("LeakyRelu", ("x",), ("y",), {"alpha": 0.1}).operator
    'LeakyRelu'
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of their execution.

    Attributes
    ----------
    nodes : tuple of Node
    constants : dict of str to array
        NumPy; of objects where they are strings; bfloat16 as float32, which holds all its values.
    inputs, outputs : tuple of Value
        Inputs without those that are constants.

    Examples
    --------
    >>> from portable_nn.readers.onnx import Graph, Node, Value
    >>> Graph((Node("Relu", ("x",), ("y",)),), {}, (Value("x"),), (Value("y"),)).nodes[0].operator
    'Relu'
    """

    nodes: tuple[Node, ...]
    constants: dict[str, NumPyArray]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


@dataclass(frozen=True)
class Model:
    """What a file holds.

    Attributes
    ----------
    graph : Graph
    opsets : dict of str to int
        The version of the operators of each domain, "" for ONNX's own.
    producer : str
        What wrote it.
    metadata : dict of str to str

    Examples
    --------
    >>> from portable_nn.readers.onnx import Graph, Model
    >>> Model(Graph((), {}, (), ()), {"": 20}).opsets
    {'': 20}
    """

    graph: Graph
    opsets: dict[str, int]
    producer: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


def read_model(path: str | os.PathLike[str]) -> Model:
    r"""Read an ONNX model file.

    Parameters
    ----------
    path : str or path-like
        External data are read from plain files in the same folder, no links.

    Returns
    -------
    Model

    Raises
    ------
    FormatError
        If the file cannot be read, is no ONNX model, or has what is not read: sparse tensors, complex and 8-bit
        or 4-bit floating numbers.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from portable_nn.readers.onnx import read_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "empty.onnx")
    ...     _ = path.write_bytes(b"\x3a\x00\x42\x02\x10\x14")
    ...     read_model(path)
    Model(graph=Graph(nodes=(), constants={}, inputs=(), outputs=()), opsets={'': 20}, producer='', metadata={})
    """
    path = Path(path)
    with reading(path, "an ONNX model that can be read", "export it anew", ValueError, OverflowError):
        size = path.stat().st_size
        if size > LARGEST:
            raise ValueError(
                f"it has {size} bytes, ONNX files have at most {LARGEST}: keep weights as external data"
            )
        found = read_message(path.read_bytes(), MODEL)
        if "graph" not in found or not found["opset_import"]:
            raise ValueError("it has no graph or names no opset")
        opsets = sorted((_domain(entry), entry.get("version", 0)) for entry in found["opset_import"])
        return Model(
            graph=_graph(found["graph"], Beside(path)),
            opsets=dict(opsets),  # skl2onnx may name one twice, and means the later
            producer=found.get("producer_name", ""),
            metadata={entry.get("key", ""): entry.get("value", "") for entry in found["metadata_props"]},
        )


def _domain(entry: Mapping[str, str]) -> str:
    domain = entry.get("domain", "")
    return "" if domain == "ai.onnx" else domain


def _dict(pairs: Iterable[tuple[str, Any]], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it has the {kind} {name!r} twice")
        found[name] = value
    return found


def _graph(found: Mapping[str, Any], beside: Beside) -> Graph:
    if found["sparse_initializer"]:
        raise ValueError("it has sparse tensors")
    constants = _dict(
        ((tensor.get("name", ""), read_tensor(tensor, beside)) for tensor in found["initializer"]), "constant"
    )
    return Graph(
        nodes=tuple(_node(node, beside) for node in found["node"]),
        constants=constants,
        inputs=tuple(_value(value) for value in found["input"] if value.get("name") not in constants),
        outputs=tuple(map(_value, found["output"])),
    )


def _node(found: Mapping[str, Any], beside: Beside) -> Node:
    operator = ".".join(filter(None, (_domain(found), found.get("op_type", ""))))
    what = f"attribute of {found.get('name') or operator!r}"
    attributes = ((entry.get("name", ""), _attribute(entry, beside)) for entry in found["attribute"])
    return Node(
        operator=operator,
        inputs=tuple(found["input"]),
        outputs=tuple(found["output"]),
        attributes=_dict(attributes, what),
        name=found.get("name", ""),
    )


def _attribute(found: Mapping[str, Any], beside: Beside) -> Any:
    match found.get("type"):
        case 1:
            return _decimal(found.get("f", 0.0))
        case 2:
            return found.get("i", 0)
        case 3:
            return str(found.get("s", b""), "utf-8")
        case 4 if "t" in found:
            return read_tensor(found["t"], beside)
        case 5 if "g" in found:
            return _graph(found["g"], beside)
        case 6:
            return tuple(map(_decimal, found["floats"]))
        case 7:
            return tuple(found["ints"])
        case 8:
            return tuple(str(value, "utf-8") for value in found["strings"])
    raise ValueError(f"attribute {found.get('name', '')!r} is of type {found.get('type')}, which is not read")


def _decimal(value: float) -> float:
    """The shortest decimal that is this number in float32: what was 0.1 in 64 bits is 0.1 again."""
    return float(str(np.float32(value)))


def _value(found: Mapping[str, Any]) -> Value:
    tensor = found.get("type", {}).get("tensor_type", {})
    shape = None
    if "shape" in tensor:
        shape = tuple(length.get("dim_value", length.get("dim_param")) for length in tensor["shape"]["dim"])
    return Value(found.get("name", ""), DTYPES.get(tensor.get("elem_type"), ""), shape)
