"""Records of what a pickle would import or call, and what some of them stand for.

Nothing is imported or called: a few calls stand for plain data (arrays and scalars of NumPy, bytes, ordered
dicts) and give that data here, sharing the bytes or objects that they are made of.
"""

import re
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from portable_nn.readers.buffers import REAL, Budget, check_shape

__all__ = ["MAX_NAME", "Record", "array_of", "call", "described", "dtype_of", "given_state", "named"]

MAX_NAME = 10_000  # characters
PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


@dataclass(slots=True, eq=False, repr=False)
class Record:
    """What a pickle would import or make, and what for: nothing of it is imported or made.

    Parameters
    ----------
    name : str
        Of a class or function, ``"module.qualname"``; ``"persistent_id"`` for what only the writer knows.
    args : tuple or None
        What it would be called with (a class and its keywords besides: the pair of both); None where it is not
        called.
    state : object
        What the object would be given as its state, usually a dict of attributes; None if nothing is.
    items : sequence
        What would be added to it: pairs of key and value to a mapping, else values.

    Examples
    --------
    >>> import pathlib, pickle, tempfile
    >>> from fractions import Fraction
    >>> from portable_nn.readers.pickles import read_records
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "half.pkl")
    ...     _ = path.write_bytes(pickle.dumps(Fraction(1, 2)))
    ...     half = read_records(path)
    >>> half, half.args
    (Record('fractions.Fraction'), (1, 2))
    """

    name: str
    args: tuple[Any, ...] | None = None
    state: Any = None
    items: list[Any] | tuple[()] = ()  # a list from the first item on: an empty one takes as much as the record

    def __repr__(self) -> str:
        return f"Record({self.name!r:.100})"


def described(value: object) -> str:
    """What kind of thing a value is, for a message.

    Parameters
    ----------
    value : object

    Returns
    -------
    str

    Examples
    --------
    >>> from portable_nn.readers.records import Record, described
    >>> described(Record("os.system", ("ls",)))
    'a call of os.system'
    """
    match value:
        case Record(args=None):
            return f"{value.name:.100}"
        case Record():
            return f"a call of {value.name:.100}"
    return f"a {type(value).__name__}"


def named(module: object, name: object) -> Record:
    """Return the record of a class or function.

    Raises
    ------
    ValueError
        If its module or its own name is none.
    """
    if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > MAX_NAME:
        raise ValueError("it names a class or function by something that is no name")
    return Record(f"{PYTHON_2.get(module, module)}.{name}")


def call(function: object, args: object, budget: Budget) -> object:
    """Return the record of a call, or the data that it stands for.

    Raises
    ------
    ValueError
        If the function is no record, or the data do not fit each other, or they are too many.
    """
    if not isinstance(function, Record) or not isinstance(args, tuple):
        raise ValueError("it makes a call of what is no name (nothing was run)")
    if function.args is not None:  # what another call gave, such as a functools.partial
        return Record(function.name.removesuffix("()") + "()", args)
    match function.name.replace("numpy._core.", "numpy.core."), args:
        case "builtins.bytes", ():
            return b""
        case "_codecs.encode", (str() as text, str("latin1" | "latin-1")):  # protocols 0 to 2 have no bytes
            budget.spend(len(text))
            return text.encode("latin1")
        case "collections.OrderedDict", ():
            return {}
        case "copyreg._reconstructor", (Record(args=None) as kind, Record(), value):  # of protocols 0 and 1
            return Record(kind.name, () if value is None else (value,))
        case "copyreg.__newobj__", (Record(args=None) as kind, *rest) if len(rest) <= 8:
            return Record(kind.name, tuple(rest))
        case "numpy.core.numeric._frombuffer", (
            data,
            Record() as dtype,
            tuple() as shape,
            str("C" | "F") as order,
        ):
            array = _array(data, dtype, shape, order, budget)
            if array is not None:
                return array
        case "numpy.core.numeric._frombuffer", (
            data,
            Record() as dtype,
            tuple() as shape,
            str("K"),
            tuple() as axes,
        ):
            array = _array(data, dtype, shape, "C", budget)
            if array is not None:
                return array.transpose(axes)
        case "numpy.core.multiarray.scalar", (Record() as dtype, data):
            scalar = _array(data, dtype, (), "C", budget)
            if scalar is not None:
                return scalar[()]
    return Record(function.name, args)


def given_state(target: object, state: object, budget: Budget) -> object:
    """Give a record its state; an array of NumPy, which is whole then, takes its place.

    Raises
    ------
    ValueError
        If the target is no record of a call, or the data do not fit each other, or they are too many.
    """
    if not isinstance(target, Record) or target.args is None:
        raise ValueError("it gives a state to what has none (nothing was run)")
    target.state = state
    match target, state:
        case (
            Record(
                name="numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct",
                args=(Record(name="numpy.ndarray"), *_),
            ),
            (int(), tuple() as shape, Record() as dtype, bool() | int() as fortran, data),
        ):
            array = _array(data, dtype, shape, "F" if fortran else "C", budget)
            return target if array is None else array
    return target


def _array(
    data: object, dtype: Record, shape: tuple[Any, ...], order: Any, budget: Budget
) -> np.ndarray[Any, Any] | None:
    """Return the array of these bytes or objects, which it shares; None where NumPy alone knows the dtype."""
    kind = dtype_of(dtype)
    if kind is None:
        return None
    if kind.hasobject and isinstance(data, list):
        check_shape(shape)
        budget.spend(8 * len(data))
        return np.fromiter(data, object, len(data)).reshape(shape)  # rows first, whatever the order is said to be
    if isinstance(data, str):
        budget.spend(len(data))
        data = data.encode("latin1")  # bytes of Python 2
    if kind.hasobject or not isinstance(data, (bytes, bytearray)):
        return None
    return array_of(data, kind, shape, order)


def dtype_of(record: Record) -> np.dtype[Any] | None:
    """Return the dtype that a record means, one of fields as mere bytes; None where NumPy alone knows it."""
    match record.args, record.state:
        case (str() as code, *_), (3, str(), None, tuple(), dict(), *_) if re.fullmatch(r"V[1-9]\d{0,6}", code):
            return np.dtype(code)
        case (str() as code, *_), (3, str("<" | ">" | "|" | "=") as endian, None, None, None, *_):
            if code in ("O", "O4", "O8"):
                return np.dtype(object)
            if code in REAL or code == "b1" or re.fullmatch(r"[SU][1-9]\d{0,6}", code):
                return np.dtype(endian + code)
    return None


def array_of(
    data: bytes | bytearray | memoryview, dtype: np.dtype[Any], shape: tuple[Any, ...], order: Any
) -> np.ndarray[Any, Any]:
    """Return the array of these bytes, which it shares.

    Raises
    ------
    ValueError
        If the shape is none or takes another length, or strings have characters that there are not.
    """
    check_shape(shape)
    if prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} and dtype {dtype} takes no {len(data)} bytes")
    if dtype.kind == "U" and (np.frombuffer(data, dtype.byteorder + "u4") > 0x10FFFF).any():
        raise ValueError("an array of strings has characters that there are not")
    return np.frombuffer(data, dtype).reshape(shape, order=order)
