"""The graph of an ONNX file, cleared: what does nothing is gone, what depends on no data is computed."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.operators.planning import evaluated, trouble
from portable_nn.readers.onnx import Graph, Model, Node, Value
from portable_nn.readers.onnx_tensors import DTYPES

__all__ = ["Body", "cleared", "pruned"]

FLOATING = ("float16", "float32", "float64", "bfloat16", "")

INTEGERS = frozenset(
    {"Shape", "Size", "ArgMax", "ArgMin", "NonZero", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual",
     "And", "Or", "Not", "Xor", "IsNaN", "IsInf", "ai.onnx.ml.LabelEncoder"}
)  # fmt: skip
"""Operators that give integers or booleans of floating numbers."""


@dataclass(frozen=True)
class Body:
    """A graph.

    Attributes
    ----------
    nodes : tuple of Node
    constants : dict of str to array
        All that depends on no data, of any dtype.
    inputs : tuple of Value
    outputs : dict of str to str
        For the name of each output that of the value.
    opsets : dict of str to int

    Examples
    --------
    >>> from portable_nn.formats.onnx_graph import cleared
    >>> from portable_nn.readers.onnx import Graph, Model, Node, Value
    >>> nodes = Node("Identity", ("x",), ("h",)), Node("Relu", ("h",), ("y",))
    >>> cleared(Model(Graph(nodes, {}, (Value("x"),), (Value("y"),)), {"": 20})).nodes[0].inputs
    ('x',)
    """

    nodes: tuple[Node, ...]
    constants: dict[str, NumPyArray]
    inputs: tuple[Value, ...]
    outputs: dict[str, str]
    opsets: dict[str, int]

    @cached_property
    def ends(self) -> frozenset[str]:
        """The values that are given out."""
        return frozenset(self.outputs.values())

    @cached_property
    def makers(self) -> dict[str, Node]:
        """The node that makes each value."""
        return {name: node for node in self.nodes for name in node.outputs}

    @cached_property
    def readers(self) -> dict[str, list[Node]]:
        """The nodes that read each value."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return found


def cleared(model: Model) -> Body:
    """The graph of a model without what does nothing.

    Parameters
    ----------
    model : Model

    Returns
    -------
    Body

    Raises
    ------
    NetworkError
        If an operator is not computed, or a condition depends on data.
    """
    clearing = _Clearing(model)
    clearing.take(model.graph.nodes)
    outputs = {value.name: clearing.named(value.name) for value in model.graph.outputs}
    return pruned(Body(tuple(clearing.nodes), clearing.constants, clearing.inputs(), outputs, model.opsets))


def pruned(body: Body) -> Body:
    """Without nodes and constants that lead to no output.

    Parameters
    ----------
    body : Body

    Returns
    -------
    Body
    """
    needed, kept = set(body.outputs.values()), list[Node]()
    for node in reversed(body.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    constants = {name: value for name, value in body.constants.items() if name in needed}
    return replace(body, nodes=tuple(reversed(kept)), constants=constants)


class _Clearing:
    """Nodes, one after the other."""

    def __init__(self, model: Model) -> None:
        self._opsets = model.opsets
        self._given = model.graph.inputs
        self._same: dict[str, str] = {}
        self._floating = {value.name for value in model.graph.inputs if value.dtype in FLOATING}
        self._cast = set[str]()
        self._makers: dict[str, Node] = {}
        self.constants: dict[str, NumPyArray] = {}
        self._hold(model.graph.constants.items())
        self.nodes: list[Node] = []

    def named(self, name: str) -> str:
        return self._same.get(name, name)

    def inputs(self) -> tuple[Value, ...]:
        """Those that the graph only ever casts to floating numbers may come as these."""
        readers = [node for node in self.nodes for name in node.inputs if name in self._cast]
        idle = all(node.operator == "Cast" and _to_float(node) for node in readers)
        return tuple(replace(x, dtype="") if idle and x.name in self._cast else x for x in self._given)

    def take(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            node = replace(node, inputs=tuple(map(self.named, node.inputs)))
            match node.operator:
                case "Identity":
                    self._same[node.outputs[0]] = node.inputs[0]
                case "Dropout" if not self._trains(node):
                    self._same[node.outputs[0]] = node.inputs[0]
                    self.nodes.append(node)  # for its mask, if that is read
                case "Cast" if self._is_idle(node):
                    self._same[node.outputs[0]] = node.inputs[0]
                case "Constant":
                    self._hold(zip(node.outputs, evaluated(node, self._opsets, []), strict=False))
                case "If":
                    self._branch(node)
                case _ if node.inputs and all(name in self.constants for name in node.inputs if name):
                    self._fold(node)
                case _:
                    self._keep(node)

    def _trains(self, node: Node) -> bool:
        """Whether a Dropout drops, or may."""
        mode = node.inputs[2] if len(node.inputs) > 2 else ""
        return bool(mode) and bool(np.any(self.constants.get(mode, True)))

    def _keep(self, node: Node) -> None:
        self.nodes.append(node)
        self._makers.update(dict.fromkeys(node.outputs, node))
        if node.operator not in INTEGERS and (node.operator != "Cast" or _to_float(node)):
            decisive = node.inputs[:1] if node.operator == "Gather" else node.inputs
            if node.operator == "Cast" or not self._floating.isdisjoint(decisive):
                self._floating.update(node.outputs)

    def _hold(self, constants: Iterable[tuple[str, NumPyArray]]) -> None:
        for name, value in constants:
            self.constants[name] = value
            if value.dtype.kind == "f":
                self._floating.add(name)

    def _is_idle(self, node: Node) -> bool:
        """Whether a cast only names another floating dtype, or that of an input that may come in any."""
        name = node.inputs[0]
        if not _to_float(node) or name in self.constants:
            return False
        if name in self._floating:
            return True
        if any(value.name == name and value.dtype not in ("str", "bool") for value in self._given):
            self._cast.add(name)
        return False

    def _fold(self, node: Node) -> None:
        given = [self.constants[name] if name else None for name in node.inputs]
        if any(value is not None and value.dtype == object for value in given):
            self._keep(node)  # of strings, which are no numbers: it may be asked for by no output
            return
        floats = [value.dtype for value in given if value is not None and value.dtype.kind == "f"]
        wide = [x.astype(np.float64) if x is not None and x.dtype.kind == "f" else x for x in given]
        dtype = np.result_type(*floats) if floats else np.dtype(np.float32)
        made = zip(node.outputs, evaluated(node, self._opsets, wide), strict=False)
        self._hold((name, value.astype(dtype) if value.dtype.kind == "f" else value) for name, value in made)

    def _branch(self, node: Node) -> None:
        """One branch of a condition in place of it."""
        (condition,) = node.inputs
        if condition in self.constants:
            truth = bool(self.constants[condition])
        elif self._asks_for_nothing(self._makers.get(condition)):
            truth = False
        else:
            raise trouble(node, "its condition depends on data, and only one that is constant is read")
        graph = node.attributes.get("then_branch" if truth else "else_branch")
        if not isinstance(graph, Graph):
            raise trouble(node, "it lacks the graph of a branch")
        self._hold(graph.constants.items())
        self.take(graph.nodes)
        for outer, inner in zip(node.outputs, graph.outputs, strict=True):
            self._same[outer] = self.named(inner.name)

    def _asks_for_nothing(self, node: Node | None) -> bool:
        """Whether a condition is that an array has no values: then both branches give none."""
        if node is None or node.operator != "Equal":
            return False
        number, zero = node.inputs
        return zero in self.constants and not np.any(self.constants[zero]) and self._is_size(number)

    def _is_size(self, name: str) -> bool:
        """Whether a value is a product of numbers of values and constants."""
        waiting, seen = [name], set[str]()
        while waiting:
            name = waiting.pop()
            node = self._makers.get(name)
            if name in seen:
                continue
            if node is not None and node.operator == "Mul":
                waiting += node.inputs
            elif (node is None and name not in self.constants) or (node and node.operator != "Size"):
                return False
            seen.add(name)
        return True


def _to_float(node: Node) -> bool:
    return DTYPES.get(node.attributes.get("to", 0), "str") in FLOATING
