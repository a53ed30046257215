"""Nodes in order, run: what is computed once, what on the host, and what beside the data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from portable_nn._arrays import namespace
from portable_nn._typing import Array, DType, Namespace, NumPyArray
from portable_nn.errors import InputError
from portable_nn.operators import Operator
from portable_nn.operators._common import beside
from portable_nn.readers.onnx import Node

__all__ = ["Bound", "Place", "Plan", "Step", "bound", "on_numpy"]

Place: TypeAlias = Literal["", "host", "beside"]
"""Where an input is to be brought: nowhere, to the host, or beside the data."""


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
    >>> from portable_nn.operators.planning import planned
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


def on_numpy() -> Namespace:
    """Return NumPy's namespace; its import takes too long for a package that may never need it."""
    return import_module("array_api_compat.numpy")


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
