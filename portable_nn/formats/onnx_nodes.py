"""Nodes and constants of a graph that is made call by call."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.formats.onnx_graph import Body, pruned
from portable_nn.nodes import OPSET, RMS
from portable_nn.operators.own import DOMAIN
from portable_nn.readers.onnx import Node, Value

__all__ = ["Nodes"]


class Nodes:
    """Nodes and constants, one after the other.

    Attributes
    ----------
    made : list of Node

    Examples
    --------
    >>> from portable_nn.formats.onnx_nodes import Nodes
    >>> from portable_nn.readers.onnx import Value
    >>> nodes = Nodes()
    >>> nodes.call("Mul", "x", 2.0)
    'mul0'
    >>> nodes.body([Value("x")], {"y": "mul0"}).constants
    {'constant0': array(2., dtype=float32)}
    """

    def __init__(self) -> None:
        self.made: list[Node] = []
        self._arrays: dict[int, tuple[str, NumPyArray]] = {}
        self._numbers: dict[str, float] = {}

    def call(self, operator: str, *inputs: str | float | NumPyArray, **attributes: Any) -> str:
        """Make a node of names of values, of numbers and arrays, and name what it gives."""
        names = tuple(each if isinstance(each, str) else self._constant(each) for each in inputs)
        name = f"{operator.rpartition('.')[2].lower()}{len(self.made)}"
        self.made.append(Node(operator, names, (name,), attributes))
        return name

    def body(self, inputs: Iterable[Value], outputs: Mapping[str, str]) -> Body:
        """The graph of what was made; numbers have the widest dtype of its arrays, float32 at least."""
        arrays = dict(self._arrays.values())
        floats = [array.dtype for array in arrays.values() if array.dtype.kind == "f"]
        dtype = np.result_type(np.float32, *floats)
        numbers = {name: np.asarray(value, dtype) for name, value in self._numbers.items()}
        used = {node.operator for node in self.made}
        opsets = {"": RMS if "RMSNormalization" in used else OPSET, DOMAIN: 1}
        return pruned(Body(tuple(self.made), arrays | numbers, tuple(inputs), dict(outputs), opsets))

    def _constant(self, value: float | NumPyArray) -> str:
        """The name of a number, or of an array, which is there once however often it is taken."""
        name = f"constant{len(self._numbers) + len(self._arrays)}"
        if isinstance(value, float):
            self._numbers[name] = value
            return name
        return self._arrays.setdefault(id(value), (name, value))[0]
