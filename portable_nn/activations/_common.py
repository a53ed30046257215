"""What all activations share: which arrays they take, and how."""

from collections.abc import Callable
from functools import wraps
from numbers import Real
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from portable_nn._arrays import as_array, check_real, default_float, is_narrow, namespace, native
from portable_nn._typing import A, Array, Exact, F, Namespace, Numbers, Table
from portable_nn.errors import InputError, ShapeError

Parameter: TypeAlias = float | Array
"""A number, or an array that broadcasts against `x`, of the same library: of shape (n,), one value a feature."""

P = ParamSpec("P")
S = TypeVar("S", bound=tuple[int, ...])


class Function(Protocol[P]):
    """An activation as it is called: on arrays of any library, numbers, lists of them and tables."""

    @overload
    def __call__(self, x: Table, /, *args: P.args, **kwargs: P.kwargs) -> Any: ...  # type checkers: before arrays

    @overload
    def __call__(
        self, x: np.ndarray[S, np.dtype[F]], /, *args: P.args, **kwargs: P.kwargs
    ) -> np.ndarray[S, np.dtype[F]]: ...

    @overload
    def __call__(
        self, x: np.ndarray[S, np.dtype[Exact]], /, *args: P.args, **kwargs: P.kwargs
    ) -> np.ndarray[S, np.dtype[np.floating[Any]]]: ...

    @overload
    def __call__(self, x: Numbers, /, *args: P.args, **kwargs: P.kwargs) -> NDArray[np.floating[Any]]: ...

    @overload
    def __call__(self, x: A, /, *args: P.args, **kwargs: P.kwargs) -> A: ...


def on_arrays(function: Callable[Concatenate[Array, P], Array]) -> Function[P]:
    """A function of floating arrays whose namespace is known, made to take any real arrays.

    What has 16 bits is computed in 32 and rounded once.
    """
    compute: Callable[..., Array] = function

    @wraps(function)
    def on_arrays(x: Array, /, *axis: int, xp: Namespace | None = None, **parameters: Any) -> Array:
        if xp is None:
            x = as_array(x)
            xp = namespace(x)
            dtype = native(x.dtype) if check_real(x, xp) else default_float(xp, x)
            if x.dtype != dtype:
                x = xp.astype(x, dtype)
            parameters = {name: _beside(x, name, value, xp) for name, value in parameters.items()}
        if not is_narrow(x):
            return compute(x, *axis, xp=xp, **parameters)
        wide = xp.astype(x, xp.float32)
        parameters = {
            name: value if name == "axis" else _cast(value, wide, xp) for name, value in parameters.items()
        }
        return xp.astype(compute(wide, *axis, xp=xp, **parameters), x.dtype)

    return cast(Function[P], on_arrays)


def _beside(x: Array, name: str, value: Any, xp: Namespace) -> Parameter:
    """A parameter as it is computed with beside `x`: a Python number, or an array of the same dtype."""
    if name == "axis":
        return value
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, str):
        raise InputError(f"{name} must be a number or an array, got {value!r}: give for instance {name}=0.5")
    if namespace(value) is not xp:
        raise InputError(
            f"{name} is of type {type(value).__name__}, x of {type(x).__name__}: give a number, or an array of "
            "the same library"
        )
    check_real(value, xp)
    lengths = reversed(value.shape), reversed(x.shape)
    if value.ndim > x.ndim or any(n not in (1, length) for n, length in zip(*lengths, strict=False)):
        raise ShapeError(
            f"{name} has shape {tuple(value.shape)}, x {tuple(x.shape)}: give a number, or an array that fits "
            "the last axes of x"
        )
    return _cast(value, x, xp)


def _cast(value: Parameter, x: Array, xp: Namespace) -> Parameter:
    """An array in the dtype of `x`, a number as it is."""
    return xp.astype(value, x.dtype) if getattr(value, "dtype", x.dtype) != x.dtype else value


def filled(x: Array, value: Parameter, xp: Namespace) -> Array:
    """A parameter as an array that broadcasts against `x`."""
    return xp.full_like(x, value) if isinstance(value, float | int) else value


def last(x: Array, xp: Namespace) -> float:
    """From where on a sigmoid rounds to 1; exp of it has a finite cube, which second derivatives meet."""
    return 40 if x.dtype == xp.float64 else 20


def side(x: Array, xp: Namespace) -> Array:
    """1 from 0 on and -1 below, as `copysign` gives, which ndonnx lacks; of no derivative."""
    return 1 - 2 * xp.astype(x < 0, x.dtype)
