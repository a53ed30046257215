"""Samples of nothing but nan, whose labels mean nothing: an argmax of nan is 0, or any other."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from portable_nn import backends
from portable_nn._arrays import check_real, each, namespace
from portable_nn._typing import Array, NumPyArray
from portable_nn.backends import Backend, Forward
from portable_nn.errors import InputWarning
from portable_nn.meaning import frames_of_this_package
from portable_nn.parts import named

__all__ = ["blank", "telling", "warn_of_blank"]


def blank(batch: Any, shapes: Mapping[str, Sequence[Any] | None]) -> int:
    """How many samples of a batch hold nothing but nan, in one input at least where there are several.

    Parameters
    ----------
    batch : array, or dict of arrays
        Of any library.
    shapes : dict of str to (sequence of int or None)
        Of one sample, in each array by name; None where it is not known.

    Returns
    -------
    int
        0 where values are not there yet.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.blank import blank
    >>> blank(np.array([[np.nan, np.nan], [np.nan, 1.0]]), {"": (2,)})
    1
    """
    masks = [_blank(array, _axes(shapes[name])) for name, array in named(batch).items()]
    found = [mask for mask in masks if mask is not None]
    return int(np.any(found, axis=0).sum()) if found else 0


def _axes(shape: Sequence[Any] | None) -> int:
    return 1 if shape is None else len(shape)


def _blank(batch: Array, axes: int) -> NumPyArray | None:
    """Which samples hold nothing but nan; None if none does, or no values are there yet."""
    is_nan = _is_nan(batch)
    # the first value of each sample tells nearly always that there are none
    if is_nan is None or not is_nan(batch[(..., *(0,) * axes)]).any():
        return None
    return np.asarray(is_nan(batch).all(axis=tuple(range(-axes, 0))))


def _is_nan(batch: Array) -> Callable[[Array], NumPyArray] | None:
    """What tells nan from numbers, None where there is none, and of a library that computes late."""
    kind = getattr(batch.dtype, "kind", "f")
    if kind in "biu" or 0 in batch.shape:
        return None
    if type(batch) is np.ndarray and kind == "f":
        return np.isnan
    xp = namespace(batch)
    home = backends.of(batch, xp)
    if not check_real(batch, xp) or home.lazy or not home.keeps(batch):
        return None
    return lambda x: home.to_numpy(home.entered(xp.isnan)(x))


def warn_of_blank(samples: int) -> None:
    """Warn that samples got labels which mean nothing."""
    if samples:
        warnings.warn(
            f"nothing but nan in {samples:,} of the samples: leave them out, for their labels mean nothing",
            InputWarning,
            stacklevel=frames_of_this_package() + 1,
        )


def telling(forward: Forward, home: Backend, x: Any, shapes: Mapping[str, Sequence[Any] | None]) -> Forward:
    """The same function from arrays like `x` to labels, which warns of samples of nothing but nan.

    It looks at the first value of each, and at the others only where one of those is nan; at nothing where values
    are not at hand, or cannot be nan.
    """
    at_hand = home.at_hand
    floats = [name for name, array in named(x).items() if check_real(array, home.xp)]
    if at_hand is None or not floats:
        return forward
    looks = {name: _look(at_hand, shapes[name]) for name in floats}
    look = looks[""] if "" in looks else lambda x: any(look(x[name]) for name, look in looks.items())

    def labels(x: Any) -> Any:
        found = forward(x)
        if look(x):
            warn_of_blank(blank(each(at_hand, x), shapes))
        return found

    return labels


def _look(at_hand: Callable[[Array], NumPyArray | None], shape: Sequence[Any] | None) -> Callable[[Array], Any]:
    """Whether the first value of a sample is nan: of one sample in 0.2 µs, on NumPy."""
    first: Any = (..., *(0,) * _axes(shape))
    size = prod(shape) if shape and all(isinstance(n, int) for n in shape) else -1

    def is_nan(x: Array) -> Any:
        values = at_hand(x)
        if values is None:
            return False
        if values.size == size:
            value = values.item(0)
        elif values.size:  # a value times itself is nan only where it is: infinities make infinities
            of_each = values[first]
            value = np.vdot(of_each, of_each)
        else:
            return False
        return value != value

    return is_nan
