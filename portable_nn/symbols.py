"""Names of values in place of arrays: a function that computes with them makes nodes of ONNX."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from portable_nn.nodes import Call

__all__ = ["Symbol", "Symbols"]

OPERATORS = {
    "abs": "Abs", "minimum": "Min", "maximum": "Max", "where": "Where", "exp": "Exp", "log": "Log",
    "sqrt": "Sqrt", "tanh": "Tanh", "round": "Round", "add": "Add",
}  # fmt: skip
"""Functions of the array API standard, of arrays and numbers, that are one operator."""

Binary: TypeAlias = Callable[["Symbol", Any], "Symbol"]


def _binary(operator: str) -> Binary:
    return lambda x, other: x.xp.made(operator, x, other)


def _reflected(operator: str) -> Binary:
    return lambda x, other: x.xp.made(operator, other, x)


@dataclass(frozen=True, eq=False)
class Symbol:
    """A value of a graph, by its name.

    Examples
    --------
    >>> from portable_nn.formats.onnx_nodes import Nodes
    >>> from portable_nn.symbols import Symbols
    >>> nodes = Nodes()
    >>> (2 * Symbols(nodes.call, "float32").symbol("x")).name
    'mul0'
    """

    name: str
    xp: "Symbols"

    __array_ufunc__ = None  # an array of NumPy's leaves arithmetic to it

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the computation."""
        return self.xp.dtype

    __add__: ClassVar[Binary] = _binary("Add")
    __radd__: ClassVar[Binary] = _reflected("Add")
    __sub__: ClassVar[Binary] = _binary("Sub")
    __rsub__: ClassVar[Binary] = _reflected("Sub")
    __mul__: ClassVar[Binary] = _binary("Mul")
    __rmul__: ClassVar[Binary] = _reflected("Mul")
    __truediv__: ClassVar[Binary] = _binary("Div")
    __rtruediv__: ClassVar[Binary] = _reflected("Div")
    __pow__: ClassVar[Binary] = _binary("Pow")
    __rpow__: ClassVar[Binary] = _reflected("Pow")
    __lt__: ClassVar[Binary] = _binary("Less")
    __le__: ClassVar[Binary] = _binary("LessOrEqual")
    __gt__: ClassVar[Binary] = _binary("Greater")
    __ge__: ClassVar[Binary] = _binary("GreaterOrEqual")


class Symbols:
    """What activations take of a namespace, for symbols and numbers.

    Parameters
    ----------
    call : callable
        Makes a node.
    dtype : str

    Attributes
    ----------
    dtype, float32, float64 : dtype
        Of NumPy.

    Examples
    --------
    >>> from portable_nn.activations import softplus
    >>> from portable_nn.formats.onnx_nodes import Nodes
    >>> from portable_nn.symbols import Symbols
    >>> nodes = Nodes()
    >>> xp = Symbols(nodes.call, "float64")
    >>> softplus(xp.symbol("x"), xp=xp).name == nodes.made[-1].outputs[0]
    True
    """

    dtype: np.dtype[Any]
    float32: ClassVar[np.dtype[Any]] = np.dtype("float32")
    float64: ClassVar[np.dtype[Any]] = np.dtype("float64")

    def __init__(self, call: Call, dtype: str) -> None:
        self._call, self.dtype = call, np.dtype(dtype)

    def symbol(self, name: str) -> Symbol:
        """The value of that name."""
        return Symbol(name, self)

    def made(self, operator: str, *operands: Any, **attributes: Any) -> Symbol:
        """What an operator makes of values, numbers and arrays."""
        return self.symbol(self._call(operator, *map(self._operand, operands), **attributes))

    def _operand(self, x: Any) -> Any:
        if isinstance(x, Symbol | str):
            return getattr(x, "name", x)
        return np.asarray(x, self.dtype)[()]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in OPERATORS:
            raise AttributeError(name)

        def function(*operands: Any) -> Any:
            known = not any(isinstance(x, Symbol) for x in operands)
            return getattr(np, name)(*operands) if known else self.made(OPERATORS[name], *operands)

        return function

    def full_like(self, x: Symbol, value: float) -> float:
        """The number, which broadcasts."""
        return value

    def zeros_like(self, x: Symbol) -> float:
        """0."""
        return 0.0

    def clip(self, x: Symbol, low: Any = None, high: Any = None) -> Symbol:
        """Values within bounds."""
        if np.ndim(low) or np.ndim(high):  # which Clip takes as numbers alone
            x = x if low is None else self.maximum(x, low)
            return x if high is None else self.minimum(x, high)
        return self.made("Clip", x, *("" if bound is None else bound for bound in (low, high)))

    def astype(self, x: Symbol, dtype: np.dtype[Any]) -> Symbol:
        """A condition as a number."""
        return self.made("Where", x, 1.0, 0.0)

    def expm1(self, x: Symbol) -> Any:
        """``tanh(x / 2) * (exp(x) + 1)``, which has all digits near 0."""
        return self.tanh(0.5 * x) * (self.exp(x) + 1.0)

    def log1p(self, x: Symbol) -> Any:
        """``log(1 + x)``, times what rounding took from ``1 + x``."""
        more = x + 1.0
        found = self.log(more) * (x / (more - 1.0))
        found = self.where(self.made("Equal", more, 1.0), x, found)
        return self.where(self.made("Equal", more, x), self.log(more), found)
