"""Options of functions: whether they are the numbers, or the lists, that they should be."""

import operator
from collections.abc import Iterable
from numbers import Real

from portable_nn.errors import InputError, ShapeError

__all__ = ["check_count", "check_integer", "check_list", "check_number"]


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
    if not isinstance(values, Iterable):
        raise InputError(f"{name} must be a list, got {values!r}: give {name}=[{values!r}]")
