"""Options of functions: whether they are the numbers, or the lists, that they should be."""

import operator
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Real

from portable_nn.errors import InputError, ShapeError

__all__ = ["check_count", "check_integer", "check_list", "check_number", "hint", "unknown"]

ALIKE = 0.75
"""Of two names, from where on one may be meant by the other: difflib's ratio."""


def check_integer(name: str, value: object) -> int:
    """The value of an option, an `InputError` unless it is an integer."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise InputError(f"{name} must be an integer, got {value!r}: give for instance {name}=2")
    return number


def check_count(name: str, value: object) -> int:
    """The same, and a `ShapeError` unless it is positive."""
    number = check_integer(name, value)
    if number < 1:
        raise ShapeError(f"{name} must be at least 1, got {value}")
    return number


def check_number(name: str, value: object) -> None:
    """Raise an `InputError` unless an option is a real number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} must be a number, got {value!r}: give for instance {name}=0.5")


def check_list(name: str, values: object) -> None:
    """Raise an `InputError` unless an option can be gone through."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"{name} must be a list, got {values!r}: give {name}=[{values!r}]")


def unknown(what: str, given: object, names: Iterable[str], meant: str | None = None) -> str:
    """The words for what is none of the names: the one that may be meant, and all of them.

    Parameters
    ----------
    what : str
        What is named: ``"activation"``.
    given : object
        No name, or another object: a function or a class is known by its own.
    names : iterable of str
        Those that there are.
    meant : str, optional
        The one that is meant, where that is known.

    Examples
    --------
    >>> from portable_nn._options import unknown
    >>> unknown("activation", "ReLU", ["relu", "tanh"])
    "unknown activation 'ReLU' (did you mean 'relu'?): choose one of relu, tanh"
    """
    names = tuple(names)
    kind = "" if isinstance(given, str) else ", which is no name"
    came = " ".join(repr(given)[:80].split("\n")) + kind
    return f"unknown {what} {came}{hint(given, names, meant)}: choose one of {', '.join(names)}"


def hint(given: object, names: Iterable[str], meant: str | None = None) -> str:
    """The words for the one of the names that may be meant, "" where none is like what was given."""
    plain = {_plain(name): name for name in names}
    near = get_close_matches(_plain(getattr(given, "__name__", given)), plain, n=1, cutoff=ALIKE)
    meant = meant or (plain[near[0]] if near else None)
    return f" (did you mean {meant!r}?)" if meant else ""


def _plain(name: object) -> str:
    """A name without what is written in several ways: ``LeakyReLU`` and ``leaky_relu`` are one."""
    return "".join(sign for sign in str(name)[:80].lower() if sign.isalnum())
