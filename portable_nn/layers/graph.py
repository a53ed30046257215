"""`Graph`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Self, final
from warnings import catch_warnings, simplefilter

import numpy as np

from portable_nn._arrays import default_float, namespace
from portable_nn._typing import Array, DType, Namespace, NumPyArray
from portable_nn.errors import NetworkError, PortableNNError, ShapeError
from portable_nn.layers._graph_layers import Prepared, with_layers
from portable_nn.layers._graph_options import node_of, plain, value_of
from portable_nn.layers._weights import Shape, replaced, weights
from portable_nn.operators import beside
from portable_nn.operators.planning import planned, trouble
from portable_nn.operators.running import Plan, on_numpy
from portable_nn.readers.onnx import Node, Value

__all__ = ["Graph"]

LARGEST = 2**28
"""Values that a sample may become inside a graph."""

FEW, LITTLE = 3, 2**22
"""Samples that a graph is tried on, if each becomes fewer values than that."""


@final
@dataclass(frozen=True, eq=False, repr=False, init=False)
class Graph:
    """Operators of ONNX, for networks that branch: each node takes values by name, and names what it makes.

    It holds names and constants, no functions. What depends on no data, or on its shape alone, is computed on the
    host.

    Parameters
    ----------
    nodes : iterable of Node
        In the order of their execution.
    inputs : iterable of Value
        Their shapes are those of one sample; None where nothing is known of it, and arrays are taken as they
        are. Those whose dtype is floating, or not told, have that of the computation, the others keep theirs.
    outputs : iterable of str
        One makes the layer give an array, several a dict of them.
    opsets : mapping of str to int
        The version of the operators of each domain, ``""`` for ONNX's own.
    **constants : array
        Floating ones, by name; others are nodes `Constant`.

    Raises
    ------
    NetworkError
        If an operator is unknown or not in that opset, names do not fit, or values do not.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.layers import Graph
    >>> from portable_nn.readers.onnx import Node, Value
    >>> nodes = [Node("Tanh", ("x",), ("h",)), Node("Add", ("x", "h"), ("y",))]
    >>> residual = Graph(nodes, [Value("x", "float32", (3,))], ["y"], {"": 20})
    >>> residual
    Graph(Tanh, Add)
    >>> pnn.Network([residual])(np.array([[0.0, 1.0, 2.0]])).round(3)
    array([[0.   , 1.762, 2.964]])
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    opsets: dict[str, int]
    constants: dict[str, Array]
    shapes: dict[str, Shape]  # of one sample, of floats that are read and of outputs; none of unknown inputs
    _plan: Plan
    _placed: dict[str, Array]  # what is known before the data, beside the constants

    def __init__(
        self,
        nodes: Iterable[Any],
        inputs: Iterable[Any],
        outputs: Iterable[str],
        opsets: Mapping[str, int],
        **constants: Array,
    ) -> None:
        record = {
            "nodes": tuple(node_of(node) for node in nodes),
            "inputs": tuple(value_of(value) for value in inputs),
            "outputs": tuple(outputs),
            "opsets": dict(opsets),
            "constants": {name: weights("Graph", name, value) for name, value in constants.items()},
        }
        for name, value in record.items():
            object.__setattr__(self, name, value)
        names = [value.name for value in self.inputs]
        if not names or not self.outputs or len({*names, *constants}) < len(names) + len(constants):
            raise NetworkError("Graph: it needs inputs, outputs, and names that differ")
        object.__setattr__(self, "_plan", planned(self.nodes, self.opsets, {*names, *constants}, self.outputs))
        object.__setattr__(self, "_placed", {})
        object.__setattr__(self, "shapes", self._tried())

    def __call__(self, x: Any, xp: Namespace) -> Any:
        """The outputs for floating `x`, or a dict of inputs, whose namespace is `xp`."""
        return self.bound(xp)(x)

    def bound(self, xp: Namespace, prepared: Prepared | None = None) -> Any:
        """The layer for arrays of one library, as a function of them.

        Parameters
        ----------
        xp : namespace
        prepared : callable, optional
            What the library runs best for a Dense or an activation, if samples come along one axis: products of
            constants, sums with them and activations are run so.

        Returns
        -------
        callable
        """
        first = self.inputs[0]
        axes = None if first.shape is None else len(first.shape) + 1
        steps = self._plan.bound(xp)
        if prepared is not None:
            steps = with_layers(steps, self.constants, self.shapes, prepared)
        wants_dtype = bool(self._plan.on_host) or any(step.is_special for step in steps)
        read = {name for step in steps for name in step.inputs}.union(self.outputs)
        fixed = {name: value for name, value in (self._plan.known | self.constants).items() if name in read}

        def run(given: Mapping[str, Array]) -> dict[str, Array]:
            floating = _floating(given, self.constants, xp) if wants_dtype else None
            try:
                values = self._plan.run({**given, **fixed, "": None}, self._placed, xp, floating, steps)
            except (ValueError, TypeError, IndexError, RuntimeError) as error:
                # classes of their own under RuntimeError tell of full memory, or of a lost device
                own = isinstance(error, RuntimeError) and type(error) is not RuntimeError
                if own or isinstance(error, PortableNNError):
                    raise
                came = ", ".join(f"{name} of shape {tuple(value.shape)}" for name, value in given.items())
                raise ShapeError(f"Graph: it does not take {came}: {error}") from error
            return {name: values[name] for name in self.outputs}

        def graph(x: Any) -> Any:
            given = x if isinstance(x, dict) else {first.name: x}
            like = given[first.name]
            if axes is None or like.ndim == axes:
                found = run(given)
            else:
                leading = tuple(like.shape[: like.ndim + 1 - axes])
                flat = {value.name: _flat(given[value.name], value, xp) for value in self.inputs}
                found = {name: xp.reshape(y, (*leading, *y.shape[1:])) for name, y in run(flat).items()}
            return found if len(self.outputs) > 1 else found[self.outputs[0]]

        return graph

    def _tried(self) -> dict[str, Shape]:
        """The shapes of values of one sample, by running none and then, if it takes little, a few."""
        arrays = all(isinstance(value, np.ndarray) for value in self.constants.values())
        if not arrays or any(value.shape is None or None in value.shape for value in self.inputs):
            return {}
        shapes, _ = self._ran(slice(0))
        if sum(map(prod, shapes.values())) < LITTLE:
            (_, few), (_, one) = self._ran(slice(FEW)), self._ran(slice(1, 2))
            if not all(_are_alike(few[name][1:2], y) for name, y in one.items()):
                raise NetworkError(
                    "Graph: outputs of a sample depend on the samples beside it; each is to be computed by itself"
                )
        return shapes

    def _ran(self, part: slice) -> tuple[dict[str, Shape], dict[str, NumPyArray]]:
        """The shapes of values of one sample and the outputs, by running a part of a few random samples."""
        samples = len(range(FEW)[part])
        given = {value.name: _drawn(value, FEW if samples else 0)[part] for value in self.inputs}
        at, shapes = Node("Identity", (), ()), dict[str, Shape]()

        def watch(node: Node, inputs: list[Any]) -> None:
            nonlocal at
            at = node
            for name, value in zip(node.inputs, inputs, strict=True):
                note(name, value)

        def note(name: str, value: Any) -> None:
            shape = np.shape(value) if isinstance(value, np.ndarray | np.generic) else ()
            if prod(n for n in shape if n) > LARGEST:
                raise NetworkError(f"{name!r} of shape {shape} for {samples} samples is too large")
            if shape[:1] == (samples,) and (value.dtype.kind == "f" or name in self.outputs):
                shapes[name] = shape[1:]

        try:
            with np.errstate(all="ignore"), catch_warnings():
                simplefilter("ignore", RuntimeWarning)  # of means of nothing
                xp, floating = on_numpy(), np.dtype(np.float32)
                steps = self._plan.bound(xp)
                values = {**given, **self._plan.known, **self.constants, "": None}
                values = self._plan.run(values, {}, xp, floating, steps, watch)
        except PortableNNError as error:
            raise trouble(at, error) from error
        except Exception as error:  # of NumPy, on whatever a file says
            raise trouble(at, f"it does not take what it is given: {error}") from error
        for name in self.outputs:
            shape = np.shape(values[name])
            if shape[:1] != (samples,):
                raise NetworkError(
                    f"Graph: {samples} samples give {name!r} the shape {shape}: it is made for one number of "
                    "samples, export it for any (a dynamic batch)"
                )
            note(name, values[name])
        return shapes, {name: np.asarray(values[name]) for name in self.outputs}

    def __repr__(self) -> str:
        names = [step.node.operator for step in self._plan.steps]
        return f"Graph({', '.join(names[:6])}{', …' if len(names) > 6 else ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.options, self.constants)

    @property
    def arrays(self) -> dict[str, Array]:
        """The constants by name."""
        return self.constants

    @property
    def options(self) -> dict[str, Any]:
        """All else, in lists, dicts, numbers and strings."""
        return {
            "nodes": [
                [node.operator, node.inputs, node.outputs, plain(node.attributes), node.name]
                for node in self.nodes
            ],
            "inputs": [[value.name, value.dtype, value.shape] for value in self.inputs],
            "outputs": self.outputs,
            "opsets": self.opsets,
        }

    def map(self, f: Callable[[Array], Array]) -> Self:
        """The same layer with `f` applied to each constant; integers go where these go."""
        constants = {name: f(value) for name, value in self.constants.items()}
        placed = {}
        if constants:
            like = next(iter(constants.values()))
            xp = namespace(like)
            placed = {
                name: beside(like, value, xp, like.dtype if value.dtype.kind == "f" else None)
                for name, value in self._plan.brought.items()
            }
        return replaced(self, constants=constants, _placed=placed)  # type: ignore[no-any-return]

    @property
    def takes_parts(self) -> bool:
        """Whether it takes something else than one array of floating numbers: several, or integers."""
        return len(self.inputs) > 1 or bool(self.kept)

    @property
    def activations(self) -> frozenset[str]:
        """The names of the activations that are among its nodes."""
        names = (getattr(step.operator.function, "activation", None) for step in self._plan.steps)
        return frozenset(name for name in names if name)

    @property
    def kept(self) -> frozenset[str]:
        """The names of inputs that are integers or booleans, and stay such."""
        return frozenset(value.name for value in self.inputs if not value.is_floating)

    @property
    def input_shape(self) -> Shape | None:
        """The shape of one sample, None where any will do or there are several inputs."""
        shape = self.inputs[0].shape
        if len(self.inputs) > 1 or shape is None or None in shape:
            return None
        return tuple(int(n) for n in shape if n is not None)

    def output_shape(self, input_shape: Shape | None) -> Shape | None:
        """The shape that one sample has after this layer."""
        return self.shapes.get(self.outputs[0]) if len(self.outputs) == 1 else None


def _floating(given: Mapping[str, Array], constants: Mapping[str, Array], xp: Namespace) -> DType:
    """The dtype of the computation: that of the first floating input, or else of the constants."""
    arrays = (*given.values(), *constants.values())
    dtypes = (value.dtype for value in arrays if xp.isdtype(value.dtype, "real floating"))
    return next(dtypes, None) or default_float(xp, arrays[0])


def _drawn(value: Value, samples: int) -> NumPyArray:
    """Random samples of an input, the same ones each time; of integers, which may be places, all are 0."""
    shape = (samples, *(n for n in value.shape or () if isinstance(n, int)))
    if not value.is_floating:
        return np.zeros(shape, value.dtype)
    return np.random.default_rng([*value.name.encode()]).standard_normal(shape, np.float32)


def _are_alike(y: NumPyArray, other: NumPyArray) -> bool:
    """Whether outputs are the same but for rounding."""
    size = np.max(np.abs(y), where=np.isfinite(y), initial=0)
    return y.shape == other.shape and np.allclose(y, other, 1e-2, 1e-2 * size, equal_nan=True)


def _flat(x: Array, value: Value, xp: Namespace) -> Array:
    """The samples of an array with any leading axes, along one."""
    shape = value.shape or ()
    leading = tuple(x.shape[: x.ndim - len(shape)])
    return xp.reshape(x, (prod(leading), *x.shape[len(leading) :]))


def _rebuilt(options: dict[str, Any], constants: dict[str, Array]) -> Graph:
    return Graph(**options, **constants)
