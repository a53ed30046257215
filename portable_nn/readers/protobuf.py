"""Protocol buffers: the fields of a message that a schema names, read within bounds.

The wire format is that of https://protobuf.dev/programming-guides/encoding. A schema gives for the number of a
field its name, its kind, and whether it is repeated; the kind is another schema where the field is a message.
Fields that no schema names are skipped, unread.
"""

import struct
from array import array
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Schema", "read_message"]

Schema: TypeAlias = Mapping[int, tuple[str, Any, bool]]

MOST_BYTES = 48 * 2**20
"""That everything but numbers of fixed size and bytes, which stay where they are, may take: a byte of a message
may ask for a hundred."""

MESSAGE, TEXT, NUMBER = 1024, 256, 128
"""About the bytes that each takes once it is read; a number of no fixed size takes time rather."""

DEEPEST = 32
"""How far messages may nest: ONNX takes 5 levels, and 3 for each graph inside a graph."""

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
WIRE = {"int": VARINT, "unsigned": VARINT, "double": FIXED64, "float": FIXED32}
CODE = {"int": "q", "unsigned": "Q", "double": "d", "float": "f"}
"""Of numbers in an `array`."""


def read_message(data: bytes, schema: Schema) -> dict[str, Any]:
    r"""Read a message.

    Parameters
    ----------
    data : bytes
    schema : mapping of int to (name, kind, repeated)
        A kind is ``"int"``, ``"unsigned"``, ``"float"``, ``"double"``, ``"text"``, ``"bytes"`` or a schema.

    Returns
    -------
    dict of str to object
        A repeated field is always there: an `array.array` of numbers, a list of others. Bytes are views of
        `data`, messages dicts.

    Raises
    ------
    ValueError
        If it is no message, a field is not of its kind, or it nests too deep or asks for too much memory.

    Examples
    --------
    >>> from portable_nn.readers.protobuf import read_message
    >>> read_message(b"\x08\x96\x01\x12\x02hi", {1: ("i", "int", False), 2: ("s", "text", False)})
    {'i': 150, 's': 'hi'}
    """
    return _Reader().message(memoryview(data), schema, 0)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """An unsigned number of at most 64 bits, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            raise ValueError("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 2**64 - 1, at
    raise ValueError("a number has more than 10 bytes")


def _signed(value: int) -> int:
    return value - 2**64 if value >> 63 else value


class _Reader:
    """One message and all in it: they share the bound on memory."""

    def __init__(self) -> None:
        self._left = MOST_BYTES

    def message(self, data: memoryview, schema: Schema, depth: int) -> dict[str, Any]:
        if depth > DEEPEST:
            raise ValueError(f"messages nest deeper than {DEEPEST} levels")
        found: dict[str, Any] = {
            name: array(CODE[kind]) if isinstance(kind, str) and kind in CODE else []
            for name, kind, repeated in schema.values()
            if repeated
        }
        at = 0
        while at < len(data):
            key, at = _varint(data, at)
            number, wire = key >> 3, key & 7
            value, at = _field(data, at, wire)
            if number not in schema:
                continue
            name, kind, repeated = schema[number]
            packed = repeated and wire == LENGTH and isinstance(kind, str) and kind in WIRE
            if packed:
                self._extend(found[name], value, kind)
                continue
            if wire != (WIRE.get(kind, LENGTH) if isinstance(kind, str) else LENGTH):
                raise ValueError(f"{name} has wire type {wire}")
            value = self._value(value, kind, depth)
            if repeated:
                found[name].append(value)
            elif name in found and not isinstance(kind, str):
                raise ValueError(f"{name} is there twice")
            else:
                found[name] = value
        return found

    def _value(self, value: Any, kind: Any, depth: int) -> Any:
        match kind:
            case "int" | "unsigned":
                self._spend(NUMBER)
                return _signed(value) if kind == "int" else value
            case "float" | "double":
                return struct.unpack("<f" if kind == "float" else "<d", value)[0]
        if kind == "bytes":
            self._spend(TEXT)
            return value
        if kind == "text":
            self._spend(TEXT + 4 * len(value))
            return str(value, "utf-8")
        self._spend(MESSAGE)
        return self.message(value, kind, depth + 1)

    def _extend(self, numbers: "array[Any]", data: memoryview, kind: str) -> None:
        """Add what is packed: numbers one after the other, without keys."""
        if kind in ("float", "double"):
            found = np.frombuffer(data, f"<{numbers.typecode}").astype(numbers.typecode, copy=False)
            numbers.frombytes(found.view(np.uint8).data)
            return
        at = 0
        while at < len(data):
            value, at = _varint(data, at)
            self._spend(NUMBER)
            numbers.append(_signed(value) if kind == "int" else value)

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError(f"its names, nodes and numbers take more than {MOST_BYTES // 2**20} MiB")


def _field(data: memoryview, at: int, wire: int) -> tuple[Any, int]:
    """What follows a key, as it stands, and where it ends."""
    if wire == VARINT:
        return _varint(data, at)
    if wire == LENGTH:
        length, at = _varint(data, at)
    elif wire in (FIXED32, FIXED64):
        length = 4 if wire == FIXED32 else 8
    else:
        raise ValueError(f"wire type {wire} is none that is in use")
    if length > len(data) - at:
        raise ValueError(f"a field of {length} bytes is cut off")
    return data[at : at + length], at + length
