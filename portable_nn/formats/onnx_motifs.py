"""Activations that exporters write as several operators, recognised where they do."""

from collections.abc import Sequence
from functools import cache
from itertools import combinations, permutations
from math import isclose, pi, sqrt
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from portable_nn._typing import ActivationName
from portable_nn.activations import ACTIVATIONS, ALONG_AXIS, PLAIN, parameters_of
from portable_nn.errors import NetworkError
from portable_nn.expressions import expression_of
from portable_nn.formats.onnx_graph import Body
from portable_nn.layers import Activation
from portable_nn.nodes import as_nodes
from portable_nn.readers.onnx import Node

__all__ = ["motif"]


class Unknown(NamedTuple):
    """A constant that is a parameter, or is made of some, which have no name then."""

    parameter: str


class Near(NamedTuple):
    """A constant that is rounded once more than what it is compared with."""

    value: Any


Argument: TypeAlias = str | float | Unknown | Near

Call: TypeAlias = tuple[str, str, tuple[Argument, ...]]
"""The name of a value, the operator that makes it, and what that reads: values and constants."""

HALF_ROOT, ROOT, TANH, CUBE = sqrt(0.5), sqrt(2), sqrt(2 / pi), 0.044715

MOTIFS: tuple[tuple[Activation, tuple[Call, ...]], ...] = (
    (Activation("silu"), (("s", "Sigmoid", ("x",)), ("y", "Mul", ("x", "s")))),
    (Activation("hard_swish"), (("s", "HardSigmoid", ("x",)), ("y", "Mul", ("x", "s")))),
    (Activation("mish"), (("p", "Softplus", ("x",)), ("t", "Tanh", ("p",)), ("y", "Mul", ("x", "t")))),
    (Activation("log_sigmoid"), (("s", "Sigmoid", ("x",)), ("y", "Log", ("s",)))),
    (Activation("log_sigmoid"), (("n", "Neg", ("x",)), ("p", "Softplus", ("n",)), ("y", "Neg", ("p",)))),
    (Activation("softmin"), (("n", "Neg", ("x",)), ("y", "Softmax", ("n",)))),
    (Activation("softsign"), (("a", "Abs", ("x",)), ("b", "Add", ("a", 1.0)), ("y", "Div", ("x", "b")))),
    (Activation("tanhshrink"), (("t", "Tanh", ("x",)), ("y", "Sub", ("x", "t")))),
    (
        Activation("softplus", threshold=20.0),
        (("p", "Softplus", ("x",)), ("g", "Greater", ("x", 20.0)), ("y", "Where", ("g", "x", "p"))),
    ),
    *(
        (Activation("gelu"), (first, ("e", "Erf", ("a",)), ("f", "Add", ("e", 1.0)), *rest))
        for first in (("a", "Div", ("x", ROOT)), ("a", "Mul", ("x", HALF_ROOT)))
        for rest in (
            (("g", "Mul", ("x", "f")), ("y", "Mul", ("g", 0.5))),
            (("g", "Mul", ("x", 0.5)), ("y", "Mul", ("g", "f"))),
            (("g", "Mul", ("f", 0.5)), ("y", "Mul", ("x", "g"))),
        )
    ),
    *(
        (
            Activation("gelu_tanh"),
            (
                *cube,
                ("d", "Mul", ("c", CUBE)),
                ("e", "Add", ("x", "d")),
                ("f", "Mul", ("e", TANH)),
                ("t", "Tanh", ("f",)),
                ("u", "Add", ("t", 1.0)),
                *rest,
            ),
        )
        for cube in (
            (("c", "Pow", ("x", 3.0)),),
            (("b", "Mul", ("x", "x")), ("c", "Mul", ("x", "b"))),
        )
        for rest in (
            (("g", "Mul", ("x", 0.5)), ("y", "Mul", ("g", "u"))),
            (("g", "Mul", ("x", "u")), ("y", "Mul", ("g", 0.5))),
            (("g", "Mul", ("u", 0.5)), ("y", "Mul", ("x", "g"))),
        )
    ),
)

COMMUTE = ("Add", "Mul")


@cache
def written() -> tuple[tuple[Activation, Sequence[Call]], ...]:
    """Activations with their usual parameters, as this package writes them in several operators."""
    found = [
        (name, _recorded(Activation(cast(ActivationName, name)), dtype))
        for name in sorted({*PLAIN} - ALONG_AXIS)
        for dtype in ("float32", "float64")
    ]
    return tuple((Activation(cast(ActivationName, name)), calls) for name, calls in found if len(calls) > 1)


SAMPLES = (0.8125, 0.65625, 0.40625), (0.78125, 0.53125, 0.28125)
"""Values of parameters that differ: what differs in the calls is made of them."""


@cache
def parametrised() -> tuple[tuple[str, str, Sequence[Call]], ...]:
    """The same with parameters, with their dtypes; not what is a `Rescaling` and a clip."""
    found = [
        (name, dtype, _pattern(name, dtype, keys))
        for name in sorted({*ACTIVATIONS} - ALONG_AXIS - {"hard_sigmoid"})
        for n in range(1, len(parameters_of(name)) + 1)
        for keys in combinations(parameters_of(name), n)
        for dtype in ("float32", "float64")
    ]
    return tuple(pattern for pattern in found if len(pattern[2]) > 1)


def _pattern(name: str, dtype: str, keys: tuple[str, ...]) -> list[Call]:
    """The calls of an activation with some parameters, what these decide unknown; none if it needs others too."""
    given = [dict(zip(keys, values, strict=False)) for values in SAMPLES]
    try:
        first, second = (_recorded(Activation(cast(ActivationName, name), **each), dtype) for each in given)
    except NetworkError:
        return []
    named = {value: key for key, value in given[0].items()}
    return [
        (
            made,
            operator,
            tuple(
                argument if argument == other else Unknown(named.get(argument, ""))  # type: ignore[arg-type]
                for argument, other in zip(arguments, others, strict=True)
            ),
        )
        for (made, operator, arguments), (*_, others) in zip(first, second, strict=True)
    ]


def _recorded(activation: Activation, dtype: str) -> list[Call]:
    """The calls that an activation is written as; none if some have attributes."""
    calls, has_attributes = list[Call](), False

    def call(operator: str, *inputs: Any, **attributes: Any) -> str:
        nonlocal has_attributes
        expression = expression_of(operator, dtype)
        if expression is not None:
            return expression(call, *inputs, **attributes)
        has_attributes |= bool(attributes)
        calls.append((str(len(calls)), operator, inputs))
        return calls[-1][0]

    as_nodes(call, "x", activation)
    *inner, (_, operator, inputs) = calls
    return [] if has_attributes else [*inner, ("y", operator, inputs)]


def motif(body: Body, name: str, readers: dict[str, list[Node]]) -> tuple[Activation, str] | None:
    """The activation that starts at a value, and the value that it ends in; None where none does.

    Parameters
    ----------
    body : Body
    name : str
    readers : dict of str to list of Node
        Of the body.

    Returns
    -------
    activation, name : Activation and str, or None
    """
    operators = {node.operator for node in readers.get(name, [])}
    for activation, calls in (*MOTIFS, *written()):
        if calls[0][1] in operators:
            bound = _bound(body, name, calls, readers)
            if bound is not None:
                return activation, bound["y"]
    for function, dtype, calls in parametrised():
        if calls[0][1] in operators:
            bound = _bound(body, name, calls, readers)
            found = bound and _with_parameters(body, function, dtype, calls, bound)
            if bound and found and _bound(body, name, found[1], readers):
                return found[0], bound["y"]
    return None


def _with_parameters(
    body: Body, name: str, dtype: str, calls: Sequence[Call], bound: dict[Argument, str]
) -> tuple[Activation, list[Call]] | None:
    """The activation with the constants that were found, and its calls, which these must then be."""
    constants = {key.parameter: body.constants[value] for key, value in bound.items() if isinstance(key, Unknown)}
    parameters = {key: float(x.reshape(())) if x.size == 1 else x for key, x in constants.items() if key}
    try:
        activation = Activation(cast(ActivationName, name), **parameters)
    except NetworkError:
        return None
    exact = _recorded(activation, dtype)
    if [operator for _, operator, _ in exact] != [operator for _, operator, _ in calls]:
        return None
    return activation, [
        (
            made,
            operator,
            tuple(
                Near(other) if isinstance(argument, Unknown) else argument
                for argument, other in zip(arguments, others, strict=True)
            ),
        )
        for (made, operator, arguments), (*_, others) in zip(calls, exact, strict=True)
    ]


def _bound(
    body: Body, name: str, calls: Sequence[Call], readers: dict[str, list[Node]]
) -> dict[Argument, str] | None:
    """What the values of the calls are here, up to their end, y, if no one else reads what is between."""
    bound, used = dict[Argument, str]({"x": name}), list[Node]()
    for made, operator, arguments in calls:
        first = next(bound[argument] for argument in arguments if isinstance(argument, str) and argument in bound)
        for node in readers.get(first, []):
            unused = not any(node is other for other in used)
            if unused and node.operator == operator and _reads(body, node, arguments, bound):
                bound[made] = node.outputs[0]
                used.append(node)
                break
        else:
            return None
    inside = [value for key, value in bound.items() if key != "y" and isinstance(key, str)]
    alone = all(node in used for value in inside for node in readers.get(value, []))
    return bound if alone and body.ends.isdisjoint(inside) else None


def _reads(body: Body, node: Node, arguments: tuple[Argument, ...], bound: dict[Argument, str]) -> bool:
    if len(node.inputs) != len(arguments):
        return False
    orders = permutations(node.inputs) if node.operator in COMMUTE else [node.inputs]
    return _is_usual(body, node) and any(
        all(_is(body, value, argument, bound) for value, argument in zip(order, arguments, strict=True))
        for order in orders
    )


def _is(body: Body, value: str, argument: Argument, bound: dict[Argument, str]) -> bool:
    if isinstance(argument, str):
        return bound.get(argument) == value if argument else not value
    constant = body.constants.get(value)
    if constant is None or constant.dtype.kind not in "fiu":
        return False
    rounding = np.finfo(constant.dtype).eps if constant.dtype.kind == "f" else 0
    match argument:
        case Unknown():
            bound[argument] = value
            return constant.size == 1 or constant.ndim == 1
        case Near(wanted):
            return np.allclose(constant, wanted, 4 * rounding, 4 * rounding)
    return constant.size == 1 and isclose(constant.reshape(()), argument, rel_tol=rounding)


def _is_usual(body: Body, node: Node) -> bool:
    """Whether a node has the attributes that it has in an activation: a default may be another one."""
    given = node.attributes
    match node.operator:
        case "HardSigmoid":
            return isclose(given.get("alpha", 0.2), 1 / 6, rel_tol=1e-6) and given.get("beta", 0.5) == 0.5
        case "Softmax":
            return bool(given.get("axis", 1 if body.opsets.get("", 1) < 13 else -1) == -1)
    return not given
