"""Pickles as inert records: every protocol, nothing imported, nothing called.

A pickle is a program for a machine with a stack; to unpickle is to run it, and it may import and call whatever it
names. Here its opcodes are read as data: what the program would import is a name, what it would call is a
record of a name and arguments. Nothing is recursed into or copied, so that shared and nested objects cost what
the file has of them, and time and memory grow with the file alone.
"""

import os
import pickletools
from collections.abc import Callable, Iterator
from types import NoneType
from typing import IO, Any

import numpy as np

from portable_nn.readers.buffers import MAX_BYTES, Budget, check_kind, reading
from portable_nn.readers.records import (
    MAX_NAME,
    Record,
    array_of,
    call,
    described,
    dtype_of,
    given_state,
    named,
)

__all__ = ["Record", "array_of", "described", "dtype_of", "interpret", "read_arrays", "read_records"]

OPCODE = 160  # bytes of memory that one takes at most, besides the bytes that come with it
MAX_TEXT = 2**24  # bytes together: a rare character makes four of each in a string
MAX_BITS = 4096  # of an integer

OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
INTEGERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
TEXTS = {
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
LITERALS = {
    *INTEGERS,
    *TEXTS,
    *("FLOAT", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
KEYS = (str, bytes, int, float, NoneType, np.number)


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
    content = read_records(path)
    kind, remedy = "a pickled dict of NumPy arrays", "save the arrays with numpy.savez instead"
    with reading(path, kind, remedy, ValueError):
        if not isinstance(content, dict):
            raise ValueError(f"it holds {described(content)} (nothing was run)")
        budget = Budget(os.path.getsize(path))
        for name, value in content.items():
            if not isinstance(name, str):
                raise ValueError("its keys are not all strings")
            if not isinstance(value, np.ndarray):
                raise ValueError(f"{name:.80} is {described(value)}, no array (nothing was run)")
            check_kind(value.dtype.str[1:])
            budget.spend(value.nbytes)
        return {
            name: np.array(value, value.dtype.newbyteorder("="), order="K") for name, value in content.items()
        }


def read_records(path: str | os.PathLike[str]) -> Any:
    """Read a pickle file without unpickling it.

    Parameters
    ----------
    path : str or path-like
        A pickle of any protocol, of at most 1 GiB.

    Returns
    -------
    object
        Of dicts (ordered ones of `collections` too), lists, tuples, strings (those of Python 2 decoded as
        Latin-1), bytes, numbers and None; arrays and scalars of NumPy, of numbers, strings or objects, the
        arrays perhaps read-only; all else is a `Record`. What the file shares is shared.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not a whole pickle.

    Examples
    --------
    >>> import pathlib, pickle, tempfile
    >>> from portable_nn.readers.pickles import read_records
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "data.pkl")
    ...     _ = path.write_bytes(pickle.dumps({"sizes": [784, 50], "type": complex}))
    ...     read_records(path)
    {'sizes': [784, 50], 'type': Record('builtins.complex')}
    """
    with reading(path, "a pickle", "fetch or write it anew", ValueError), open(path, "rb") as file:
        return interpret(file)


class _Within:
    """A file that is asked for no more than it holds, and `most`: Python allocates what is asked for."""

    def __init__(self, file: IO[bytes]) -> None:
        start = file.tell()
        self.size = self.most = file.seek(0, os.SEEK_END)
        file.seek(start)
        self.file = file

    def read(self, n: int) -> bytes:
        if n > self.most:
            raise ValueError("it ends early, or has too much text")
        return self.file.read(n if n < 4096 else min(n, self.size - self.file.tell()))

    def readline(self) -> bytes:
        return self.file.readline(min(self.most, MAX_TEXT))


def interpret(
    file: IO[bytes],
    *,
    built: Callable[[Record], object] = lambda record: record,
    called: Callable[[Record], object] = lambda record: record,
    persistent: Callable[[object], object] = lambda key: Record("persistent_id", (key,)),
    budget: Budget | None = None,
) -> Any:
    """Return what the pickle at the position of a file describes; the file is then at the first byte after it.

    Parameters
    ----------
    file : binary file
        That can seek.
    built : function, optional
        Takes a record that has just been given its state, the file being at the next byte, and returns what
        takes its place: itself, or what a writer put there besides the opcodes.
    called : function, optional
        Takes a record with its arguments, and returns what takes its place.
    persistent : function, optional
        Takes a persistent id, and returns what takes its place.
    budget : Budget, optional
        Of the file that this pickle is a part of; by default one of its own.

    Returns
    -------
    object
        As of `read_records`.

    Raises
    ------
    ValueError
        If it is no whole pickle, or larger than the limits of this module.

    Examples
    --------
    >>> import io, pickle
    >>> from portable_nn.readers.pickles import interpret
    >>> interpret(io.BytesIO(pickle.dumps([1, print])))
    [1, Record('builtins.print')]
    """
    source = _Within(file)
    if source.size > MAX_BYTES:
        raise ValueError(f"it has {source.size} bytes, the limit is {MAX_BYTES}")
    try:
        return _interpret(source, built, called, persistent, budget or Budget(source.size))
    except (IndexError, KeyError, AttributeError, TypeError, AssertionError, DeprecationWarning) as error:
        raise ValueError("it is damaged") from error  # the last from bad escapes


def _interpret(
    source: _Within,
    built: Callable[[Record], object],
    called: Callable[[Record], object],
    persistent: Callable[[object], object],
    budget: Budget,
) -> object:
    stacks: list[list[Any]] = [[]]  # one more for each open mark
    memo: dict[int, Any] = {}
    became: dict[int, tuple[Record, object]] = {}  # what took the place of records that may be in the memo
    for operation, argument in _operations(source, budget):
        stack = stacks[-1]
        match operation:
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
                value = memo[argument]
                stack.append(became.get(id(value), (None, value))[1])
            case "DUP":
                stack.append(stack[-1])
            case "POP":
                (stack or stacks).pop()
            case "MARK":
                stacks.append([])
            case "POP_MARK":
                _marked(stacks)
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                stack.append(tuple([stack.pop() for _ in range(int(name[-1]))][::-1]))
            case "TUPLE":
                items = _marked(stacks)
                stacks[-1].append(tuple(items))
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                items = _marked(stacks)
                stacks[-1].append(items)
            case "APPEND":
                item = stack.pop()
                _extend(stack[-1], [item])
            case "APPENDS" | "ADDITEMS":
                items = _marked(stacks)
                _extend(stacks[-1][-1], items)
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                items = _marked(stacks)
                stacks[-1].append(_update({}, items))
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _update(stack[-1], [key, value])
            case "SETITEMS":
                items = _marked(stacks)
                _update(stacks[-1][-1], items)
            case "EMPTY_SET":
                stack.append(Record("builtins.set", ()))
            case "FROZENSET":
                items = _marked(stacks)
                stacks[-1].append(Record("builtins.frozenset", (items,)))
            case "GLOBAL":
                stack.append(named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(named(module, name))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                value = call(function, arguments, budget)
                stack.append(called(value) if isinstance(value, Record) else value)
            case "NEWOBJ_EX":
                keywords, arguments, function = stack.pop(), stack.pop(), stack.pop()
                stack.append(call(function, (arguments, keywords), budget))
            case "OBJ":
                function, *arguments = _marked(stacks)
                stacks[-1].append(call(function, tuple(arguments), budget))
            case "INST":
                items = _marked(stacks)
                stacks[-1].append(call(named(*argument.split(" ", 1)), tuple(items), budget))
            case "BUILD":
                state, target = stack.pop(), stack[-1]
                if not isinstance(target, dict):  # an ordered one may have attributes: nobody asks for them
                    stack[-1] = given_state(target, state, budget)
                    if stack[-1] is target:
                        stack[-1] = built(target)
                    if stack[-1] is not target:
                        became[id(target)] = target, stack[-1]
            case "PERSID":
                stack.append(persistent(argument))
            case "BINPERSID":
                stack.append(persistent(stack.pop()))
            case name:
                raise ValueError(f"it has an opcode {name}, for what is not in the file")
    return stacks[-1].pop()


def _operations(source: _Within, budget: Budget) -> Iterator[tuple[str, Any]]:
    """The opcodes by name, and their arguments, up to the one that stops."""
    left, name = MAX_TEXT, ""
    while name != "STOP":
        source.most = source.size
        opcode = OPCODES.get(source.read(1))
        if opcode is None:
            raise ValueError("it has an unknown opcode, or ends early")
        if opcode.name in TEXTS:
            source.most, start = left, source.file.tell()
        kind = pickletools.bytes8 if opcode.name == "BYTEARRAY8" else opcode.arg  # bytes need no second copy
        argument: Any = kind.reader(source) if kind else None  # type: ignore[arg-type]
        if opcode.name in TEXTS:
            left -= source.file.tell() - start
        if opcode.name in INTEGERS and argument.bit_length() > MAX_BITS:
            raise ValueError(f"it has an integer of more than {MAX_BITS} bits")
        budget.spend(OPCODE + (len(argument) if isinstance(argument, bytes) else 0))
        name = opcode.name
        yield name, argument


def _marked(stacks: list[list[Any]]) -> list[Any]:
    """Take what was pushed since the last mark."""
    if len(stacks) == 1:
        raise IndexError
    return stacks.pop()


def _extend(target: object, items: list[Any]) -> None:
    match target:
        case list():
            target.extend(items)
        case Record():
            target.items = target.items or []
            target.items.extend(items)
        case _:
            raise TypeError


def _update(target: object, items: list[Any]) -> object:
    if len(items) % 2:
        raise IndexError
    pairs = zip(items[::2], items[1::2], strict=True)
    match target:
        case dict():
            for key, value in pairs:
                _check_key(key)
                target[key] = value
        case _:
            _extend(target, list(pairs))
    return target


def _check_key(key: object) -> None:
    """Refuse keys that hash or compare in more than constant time, and integers made to have equal hashes."""
    for part in key if isinstance(key, tuple) and len(key) <= 8 else (key,):
        if isinstance(part, (str, bytes)):
            fits = len(part) <= MAX_NAME
        else:
            fits = isinstance(part, (KEYS, Record)) and not (isinstance(part, int) and abs(part) >= 2**60)
        if not fits:
            raise ValueError(f"it has a dict with a key of type {type(part).__name__} that is no name")
