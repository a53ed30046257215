"""Nodes in order, planned: what is computed once, what on the host, and what beside the data."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from math import prod

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.errors import NetworkError, PortableNNError
from portable_nn.operators import Operator, find
from portable_nn.operators._common import Fixed, host_ints
from portable_nn.operators.elementwise import ELEMENTWISE
from portable_nn.operators.running import Place, Plan, Step, bound, on_numpy
from portable_nn.readers.onnx import Node

__all__ = ["evaluated", "planned", "trouble"]

FIXED = "\0"
"""What the name of a value begins with where it is `Fixed`."""

TOGETHER = 2**26
"""Values that a node may make of several constants."""


def planned(
    nodes: Iterable[Node], opsets: Mapping[str, int], arrays: Collection[str], outputs: Collection[str]
) -> Plan:
    """Plan how nodes are run.

    Parameters
    ----------
    nodes : iterable of Node
        In the order of their execution.
    opsets : mapping of str to int
        The version of the operators of each domain.
    arrays : collection of str
        Names of inputs, and of constants that are arrays of their library.
    outputs : collection of str
        Names of values that are asked for; nodes that lead to none of them are left out.

    Returns
    -------
    Plan

    Raises
    ------
    NetworkError
        If an operator is unknown, or a node has other inputs or attributes than its operator, or reads what no
        one made before it, or names what is there already.
    """
    beside_data, on_host, known = set(arrays), set[str](), dict[str, NumPyArray]()
    steps: list[Step] = []
    for node in nodes:
        operator = _checked(node, opsets)
        given = [name for name in node.inputs if name]
        for name in given:
            if not (name in beside_data or name in on_host or name in known):
                raise trouble(node, f"reads {name!r}, which no node before it makes")
        for name in filter(None, node.outputs):
            if name in beside_data or name in on_host or name in known:
                raise trouble(node, f"makes {name!r}, which is there already")
        if all(name in known for name in given):
            given_known = [known[name] if name else None for name in node.inputs]
            known.update(zip(node.outputs, evaluated(node, opsets, given_known), strict=False))
            continue
        host = operator.on_host or beside_data.isdisjoint(given)
        if not host:
            node = _with_fixed(node, operator, known)
        places = tuple(_place(i, name, operator, host, name in beside_data) for i, name in enumerate(node.inputs))
        steps.append(Step(node, operator, places if any(places) else (), host, ()))
        (on_host if host else beside_data).update(filter(None, node.outputs))
    for name in outputs:
        if not (name in beside_data or name in on_host or name in known):
            raise NetworkError(f"the graph gives {name!r}, which no node makes")
    needed = _with_drops(steps, outputs)
    beside_them = [name for name in outputs if name in beside_data]
    return Plan(
        steps=needed,
        known=known,
        lent=_lent(needed, {*arrays, *known}, beside_them),
        on_host=tuple(name for name in outputs if name not in beside_data),
    )


def evaluated(node: Node, opsets: Mapping[str, int], given: list[NumPyArray | None]) -> tuple[NumPyArray, ...]:
    """Return the outputs of a node all of whose inputs are known.

    Raises
    ------
    NetworkError
        If the operator is unknown or does not take them, or they are large.
    """
    operator = _checked(node, opsets)
    shapes = [value.shape for value in given if value is not None]
    if len(shapes) > 1 and _most(node, shapes) > max(TOGETHER, *map(prod, shapes)):
        raise trouble(node, "it combines constants alone, and large ones: fold them before")
    try:
        dtype = {"floating": np.float64} if "floating" in operator.context else {}
        made = bound(Step(node, operator, (), True, ()), on_numpy())(*given, **dtype)
        return tuple(map(np.asarray, made if isinstance(made, tuple) else (made,)))
    except PortableNNError as error:
        raise trouble(node, error) from error
    except Exception as error:  # of NumPy, on whatever a file says
        raise trouble(node, f"it does not take what it is given: {error}") from error


def _most(node: Node, shapes: list[tuple[int, ...]]) -> int:
    """How many values a node may make of several constants, at most."""
    if node.operator == "Concat":
        return sum(map(prod, shapes))
    if node.operator in ("MatMul", "Gemm") and len(shapes[0]) == len(shapes[1]) == 2:
        rows = shapes[0][node.attributes.get("transA", 0) != 0]
        return rows * shapes[1][node.attributes.get("transB", 0) == 0]
    if node.operator in ELEMENTWISE:
        with suppress(ValueError):  # it says itself that they do not fit
            return prod(np.broadcast_shapes(*shapes))
    return prod(map(prod, shapes))


def trouble(node: Node, what: object) -> NetworkError:
    """Return the error that says what is wrong with a node."""
    name = f" {node.name!r}" if node.name else f" that makes {', '.join(node.outputs)}"
    return NetworkError(f"{node.operator}{name}: {what}")


def _checked(node: Node, opsets: Mapping[str, int]) -> Operator:
    try:
        operator = find(node.operator, opsets)
    except NetworkError as error:
        raise trouble(node, error) from None
    count = len(node.inputs)
    if not operator.least <= count <= operator.most or "" in node.inputs[: operator.least]:
        raise trouble(node, f"it takes {operator.least} to {operator.most} inputs, got {count}")
    if operator.attributes is not None and (unknown := node.attributes.keys() - operator.attributes):
        raise trouble(node, f"attribute {', '.join(sorted(unknown))} is none that is known in its opset")
    if missing := operator.needed - node.attributes.keys():
        raise trouble(node, f"it needs the attribute {', '.join(sorted(missing))}")
    if not node.outputs:
        raise trouble(node, "it has no output")
    return operator


def _with_fixed(node: Node, operator: Operator, known: dict[str, NumPyArray]) -> Node:
    """The node with integers that are known in place of arrays, where it takes such; they join what is known."""
    inputs = list(node.inputs)
    for i, name in enumerate(inputs):
        value = known.get(name)
        if i in operator.hosts | operator.known and value is not None and value.dtype.kind in "iu":
            inputs[i] = FIXED + name
            known[inputs[i]] = Fixed(host_ints(value), value.shape)  # type: ignore[assignment]
    return replace(node, inputs=tuple(inputs))


def _place(i: int, name: str, operator: Operator, host: bool, is_beside: bool) -> Place:
    if not name:
        return ""
    if i in operator.hosts:
        return "host" if is_beside else ""
    return "" if host or is_beside or i in operator.known else "beside"


def _with_drops(steps: list[Step], outputs: Collection[str]) -> tuple[Step, ...]:
    """The steps that lead to outputs, each with the values that are read by it last."""
    made = {name for step in steps for name in step.node.outputs}
    needed, done = set(outputs), list[Step]()
    for step in reversed(steps):
        if needed.isdisjoint(step.node.outputs):
            continue
        last = tuple(name for name in dict.fromkeys(step.node.inputs) if name in made and name not in needed)
        unread = tuple(name for name in step.node.outputs if name and name not in needed)
        needed.update(step.node.inputs)
        done.append(step._replace(dropped=(*last, *unread)))
    return tuple(reversed(done))


def _lent(steps: Iterable[Step], there: Collection[str], outputs: Iterable[str]) -> tuple[str, ...]:
    """The outputs that may be memory of what is there before the steps, or of an output before them."""
    owners = dict(zip(there, there, strict=True))
    for node, operator, *_ in steps:
        for name in node.outputs:
            match operator.lends:
                case "view":
                    owners[name] = owners.get(node.inputs[0], name)
                case "repeated":
                    owners[name] = ""
                case _:
                    owners[name] = name
    held, lent = {"", *there}, list[str]()
    for name in outputs:
        if owners[name] in held:
            lent.append(name)
        held.add(owners[name])
    return tuple(lent)
