"""Dicts of NumPy arrays in pickle files, read without unpickling.

A pickle is a program for a machine with a stack; to unpickle is to run it, and it may import and call
whatever it names. Here its opcodes are read as data: where the program would call NumPy, a record is put on
the stack, and the arrays are made from the records at the end. So nothing that a pickle names is imported or
called, and nothing that it claims (a length, a memo index, a depth) is allocated or recursed into.
"""

import os
import pickletools
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Literal

import numpy as np

from portable_nn.errors import FormatError
from portable_nn.readers.buffers import MAX_BYTES, as_array, check_kind, reading

__all__ = ["read_arrays"]

MAX_OPCODES = 1_000_000  # an array takes about 50

LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


class _Global(Enum):
    RECONSTRUCT = auto()
    FROMBUFFER = auto()
    NDARRAY = auto()
    DTYPE = auto()
    ENCODE = auto()
    BYTES = auto()


ADMITTED = {
    "numpy.core.multiarray _reconstruct": _Global.RECONSTRUCT,
    "numpy._core.multiarray _reconstruct": _Global.RECONSTRUCT,
    "numpy.core.numeric _frombuffer": _Global.FROMBUFFER,  # protocol 5
    "numpy._core.numeric _frombuffer": _Global.FROMBUFFER,
    "numpy ndarray": _Global.NDARRAY,
    "numpy dtype": _Global.DTYPE,
    "_codecs encode": _Global.ENCODE,  # protocols 0 to 2 have no bytes, but latin1 strings to encode
    "__builtin__ bytes": _Global.BYTES,
}


@dataclass
class _DType:
    code: str
    order: str = "="


@dataclass
class _Array:
    data: bytes | bytearray | str  # a str is to be encoded as latin1
    dtype: _DType
    shape: tuple[int, ...]
    order: Literal["C", "F"] = "C"

    def read(self) -> np.ndarray[Any, Any]:
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data
        return as_array(data, self.dtype.order + self.dtype.code, self.shape, self.order)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read a pickled dict of NumPy arrays, whoever wrote it: nothing that the file names is run.

    Parameters
    ----------
    path : str or path-like
        A pickle of any protocol, of at most 1 GiB.

    Returns
    -------
    dict of str to array
        NumPy, of real dtypes in native byte order.

    Raises
    ------
    FormatError
        If the file cannot be read, or is anything but a pickled dict of real arrays.

    Examples
    --------
    >>> import pathlib, pickle, tempfile
    >>> import numpy as np
    >>> from portable_nn.readers.pickles import read_arrays
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "weights.pkl")
    ...     _ = path.write_bytes(pickle.dumps({"b1": np.array([0.1, 0.2])}))
    ...     read_arrays(path)
    {'b1': array([0.1, 0.2])}
    """
    kind, remedy = "a pickled dict of NumPy arrays", "save the arrays with numpy.savez instead"
    with reading(path, kind, remedy, ValueError):
        try:
            return _arrays(_interpret(_read(path)))
        except (IndexError, KeyError, TypeError, DeprecationWarning) as error:  # the last from bad escapes
            raise FormatError(f"{path} is a damaged pickle: fetch or write it anew") from error


def _read(path: str | os.PathLike[str]) -> bytes:
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise ValueError(f"it has {size} bytes, the limit is {MAX_BYTES}")
        return file.read(size)


def _arrays(content: object) -> dict[str, np.ndarray[Any, Any]]:
    if not isinstance(content, dict):
        raise ValueError("it holds no dict")
    strays = [name for name, value in content.items() if not isinstance(value, _Array)]
    if strays:
        raise ValueError(f"{', '.join(strays)} are no arrays")
    size = sum(len(array.data) for array in content.values())
    if size > MAX_BYTES:
        raise ValueError(f"its arrays have {size} bytes, the limit is {MAX_BYTES}")
    return {name: array.read() for name, array in content.items()}


def _interpret(data: bytes) -> object:
    """Return what the pickle describes, with an `_Array` for each array."""
    stacks: list[list[Any]] = [[]]  # one more for each open mark
    memo: dict[Any, Any] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count == MAX_OPCODES:
            raise ValueError(f"it has more than {MAX_OPCODES} opcodes")
        stack = stacks[-1]
        match opcode.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case name if name in LITERALS:
                stack.append(argument)
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "MARK":
                stacks.append([])
            case "TUPLE":
                stacks[-2].append(tuple(stacks.pop()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                n = int(name[-1])
                stack[-n:] = [tuple(stack[-n:])]
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                stacks[-2].append(_updated({}, stacks.pop()))
            case "SETITEM":
                stack[-3:] = [_updated(stack[-3], stack[-2:])]
            case "SETITEMS":
                _updated(stacks[-2][-1], stacks.pop())
            case "GLOBAL":
                stack.append(_admitted(str(argument)))
            case "STACK_GLOBAL":
                stack[-2:] = [_admitted(" ".join((stack[-2], stack[-1])))]
            case "REDUCE":
                stack[-2:] = [_called(stack[-2], stack[-1])]
            case "BUILD":
                _build(stack[-2], stack.pop())
            case name:
                raise ValueError(f"it has an opcode {name}, which such a dict does not need")
    return stacks[-1][-1]


def _updated(target: Any, items: list[Any]) -> Any:
    keys, values = items[::2], items[1::2]
    if not isinstance(target, dict) or not all(isinstance(key, str) for key in keys):
        raise ValueError("it fills something that is not a dict of strings")
    target.update(zip(keys, values, strict=True))
    return target


def _admitted(name: str) -> _Global:
    if name not in ADMITTED:
        raise ValueError(
            f"it asks for {name.replace(' ', '.')!r}, which such a dict does not need (nothing was run)"
        )
    return ADMITTED[name]


def _called(function: object, arguments: object) -> object:
    """Return what the call of an admitted global with its usual arguments stands for."""
    match function, arguments:
        case _Global.RECONSTRUCT, (_Global.NDARRAY, (0,), b"b" | "b"):
            return _Array(b"", _DType("i1"), (0,))
        case _Global.FROMBUFFER, (
            bytes() | bytearray() as data,
            _DType() as dtype,
            tuple() as shape,
            "C" | "F" as order,
        ):
            return _Array(data, dtype, shape, order)
        case _Global.DTYPE, (str() as code, _, _):
            check_kind(code)
            return _DType(code)
        case _Global.ENCODE, (str() as text, "latin1"):
            return text
        case _Global.BYTES, ():
            return b""
    raise ValueError("it makes a call that such a dict does not need (nothing was run)")


def _build(target: object, state: object) -> None:
    """Give a record the state that `__setstate__` of a dtype or array would be given."""
    match target, state:
        case _DType(), (3, "<" | ">" | "|" as order, None, None, None, -1, -1, 0):
            target.order = order
        case _Array(), (1, tuple() as shape, _DType() as dtype, fortran, bytes() | str() as data):
            target.data, target.dtype, target.shape = data, dtype, shape
            target.order = "F" if fortran else "C"
        case _:
            raise ValueError("it has an array or dtype in an unusual state")
