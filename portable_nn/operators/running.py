"""Nodes in order, run: what is computed once, what on the host, and what beside the data."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from math import prod
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from portable_nn._arrays import namespace
from portable_nn._typing import Array, DType, Namespace, NumPyArray
from portable_nn.errors import InputError, NetworkError, PortableNNError
from portable_nn.operators import Operator, find
from portable_nn.operators._common import Fixed, beside, host_ints
from portable_nn.readers.onnx import Node

__all__ = ["Bound", "Plan", "evaluated", "on_numpy", "planned", "trouble"]

Place: TypeAlias = Literal["", "host", "beside"]
"""Where an input is to be brought: nowhere, to the host, or beside the data."""

FIXED = "\0"
"""What the name of a value begins with where it is `Fixed`."""

TOGETHER = 2**26
"""Of a node whose inputs are all known, the product of their numbers of values: it makes no more than that."""


class Step(NamedTuple):
    """A node some of whose inputs are not known before the data."""

    node: Node
    operator: Operator
    places: tuple[Place, ...]  # of the inputs; none where all are as they should be
    on_host: bool
    dropped: tuple[str, ...]  # what no one reads after it


class Bound(NamedTuple):
    """A step, and what it calls of one library: all is given but arrays, and the dtype of the computation."""

    call: Callable[..., Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dropped: tuple[str, ...]
    is_special: bool  # whether more than arrays that are as they should be is to be given
    step: Step


def bound(step: Step, xp: Namespace) -> Callable[..., Any]:
    """What a step calls."""
    node, operator, *_ = step
    if operator.direct is not None and not node.attributes:
        return operator.direct(xp)
    outputs = {"outputs": len(node.outputs)} if "outputs" in operator.context else {}
    return partial(operator.function, xp=xp, **outputs, **node.attributes)


@dataclass(frozen=True)
class Plan:
    """How a graph is run.

    Attributes
    ----------
    steps : tuple of Step
    known : dict of str to array
        What depends on no data, in NumPy.
    lent : tuple of str
        Outputs that may be memory of an input, of a constant or of another output.
    on_host : tuple of str
        Outputs that are NumPy's, whatever the data are.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.operators.running import planned
    >>> from portable_nn.readers.onnx import Node
    >>> plan = planned([Node("Exp", ("x",), ("y",))], {"": 20}, {"x"}, {"y"})
    >>> plan.run({"x": np.zeros(2)}, {}, np, np.float64, plan.bound(np))["y"]
    array([1., 1.])
    """

    steps: tuple[Step, ...]
    known: dict[str, NumPyArray]
    lent: tuple[str, ...]
    on_host: tuple[str, ...]

    @property
    def brought(self) -> dict[str, NumPyArray]:
        """What is known and is to be beside the data."""
        names = {
            name
            for step in self.steps
            for name, place in zip(step.node.inputs, step.places, strict=False)
            if place == "beside"
        }
        return {name: self.known[name] for name in self.known if name in names}

    def bound(self, xp: Namespace) -> tuple[Bound, ...]:
        """The steps with what they call of one library."""
        return tuple(
            Bound(
                call=bound(step, on_numpy() if step.on_host else xp),
                inputs=step.node.inputs,
                outputs=step.node.outputs,
                dropped=step.dropped,
                is_special=bool(step.places) or "floating" in step.operator.context,
                step=step,
            )
            for step in self.steps
        )

    def run(
        self,
        values: dict[str, Array],
        placed: Mapping[str, Array],
        xp: Namespace,
        floating: DType,
        steps: Iterable[Bound],
        watch: Callable[[Node, list[Any]], None] | None = None,
    ) -> dict[str, Array]:
        """Compute all values from those of the inputs, of constants, of what is known, and None for ``""``.

        Outputs are arrays of their own, beside the data.

        Parameters
        ----------
        values : dict of str to array
            The first is one of the data. The others are added; what is read no more is dropped.
        placed : mapping of str to array
            Of what is `brought`, what is beside the data already.
        xp : namespace
        floating : dtype
            Of the computation.
        steps : iterable of Bound
        watch : callable, optional
            It is given each node before it is run, and what it is given.

        Returns
        -------
        dict of str to array
        """
        like = next(iter(values.values()))
        get = values.__getitem__
        for call, inputs, outputs, dropped, is_special, step in steps:
            if not (is_special or watch):
                made = call(*map(get, inputs))
            else:
                given: list[Any] = list(map(get, inputs))
                for i, place in enumerate(step.places):
                    if place == "beside":
                        name = inputs[i]
                        given[i] = placed[name] if name in placed else _beside(like, given[i], xp, floating)
                    elif place == "host":
                        given[i] = _fetched(given[i])
                if watch is not None:
                    watch(step.node, given)
                wanted = "floating" in step.operator.context
                made = call(*given, **({"floating": np.float64 if step.on_host else floating} if wanted else {}))
            if isinstance(made, tuple):
                values.update(zip(outputs, made, strict=False))
            else:
                values[outputs[0]] = made
            for name in dropped:
                del values[name]
        for name in self.lent:
            values[name] = xp.astype(values[name], values[name].dtype)
        for name in self.on_host:
            values[name] = _beside(like, values[name], xp, floating)
        return values


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
    sizes = [value.size for value in given if value is not None]
    if len(sizes) > 1 and prod(sizes) > TOGETHER:
        raise trouble(node, "it combines constants alone, and large ones: fold them before")
    try:
        dtype = {"floating": np.float64} if "floating" in operator.context else {}
        made = bound(Step(node, operator, (), True, ()), on_numpy())(*given, **dtype)
        return tuple(map(np.asarray, made if isinstance(made, tuple) else (made,)))
    except PortableNNError as error:
        raise trouble(node, error) from error
    except Exception as error:  # of NumPy, on whatever a file says
        raise trouble(node, f"it does not take what it is given: {error}") from error


def on_numpy() -> Namespace:
    """Return NumPy's namespace; its import takes too long for a package that may never need it."""
    return import_module("array_api_compat.numpy")


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


def _beside(like: Array, value: NumPyArray, xp: Namespace, floating: DType) -> Array:
    return beside(like, value, xp, floating if np.asarray(value).dtype.kind == "f" else None)


def _fetched(x: Array) -> NumPyArray:
    """The values of a small array, in NumPy."""
    if isinstance(x, np.ndarray | np.generic):
        return np.asarray(x)
    xp = namespace(x)
    kind = float if xp.isdtype(x.dtype, "real floating") else int
    flat = xp.reshape(x, (-1,))
    try:
        values = [kind(flat[i]) for i in range(flat.shape[0])]
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"shapes that depend on values cannot be told while tracing: {error}") from error
    return np.array(values, np.float64 if kind is float else np.int64).reshape(x.shape)
