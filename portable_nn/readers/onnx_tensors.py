"""The tensors of ONNX: raw, in fields by dtype, or in a file beside the model."""

import os
import stat
from array import array
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.readers.buffers import check_shape
from portable_nn.readers.protobuf import Schema

__all__ = ["DTYPES", "ENTRY", "TENSOR", "Beside", "read_tensor"]

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "str", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip
"""The dtypes that are read, by their number in a file."""

FIELDS = {
    "float32": "float_data", "float64": "double_data", "int64": "int64_data", "uint32": "uint64_data",
    "uint64": "uint64_data",
}  # fmt: skip
"""Where a dtype's values are if they are not raw; those of the others are in `int32_data`."""

BITS = {"float16": "uint16", "bfloat16": "uint16", "bool": "uint8"}
"""The integers that values of a dtype are stored as."""

ENTRY: Schema = {1: ("key", "text", False), 2: ("value", "text", False)}
TENSOR: Schema = {
    1: ("dims", "int", True), 2: ("data_type", "int", False), 3: ("segment", "bytes", False),
    4: ("float_data", "float", True), 5: ("int32_data", "int", True), 6: ("string_data", "text", True),
    7: ("int64_data", "int", True), 8: ("name", "text", False), 9: ("raw_data", "bytes", False),
    10: ("double_data", "double", True), 11: ("uint64_data", "unsigned", True),
    13: ("external_data", ENTRY, True), 14: ("data_location", "int", False),
}  # fmt: skip


class Beside:
    """The files beside a model that hold its external data.

    Parameters
    ----------
    model : path

    Examples
    --------
    >>> from pathlib import Path
    >>> from portable_nn.readers.onnx_tensors import Beside
    >>> Beside(Path("net.onnx")).read({"location": "../secret"}, 4, "weight")
    Traceback (most recent call last):
        ...
    ValueError: tensor 'weight' is in '../secret', which is no file beside the model
    """

    def __init__(self, model: Path) -> None:
        self._folder = model.parent
        self._left: dict[str, int] = {}

    def read(self, entries: Mapping[str, str], size: int, name: str) -> bytes:
        """So many bytes where the entries say; all tensors together take no more than there is."""
        location = entries.get("location", "")
        if location in ("", ".", "..") or set(location) & set("/\\:\0"):
            raise ValueError(f"tensor {name!r} is in {location!r}, which is no file beside the model")
        path = self._folder / location
        offset, length = (int(entries.get(key, default)) for key, default in (("offset", 0), ("length", size)))
        with open(path, "rb", opener=_opener) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or path.is_symlink():
                raise ValueError(
                    f"tensor {name!r} is in {location!r}, which is no plain file but a link or a device"
                )
            left = self._left.setdefault(location, status.st_size)
            if length != size or offset < 0 or offset + size > status.st_size or size > left:
                raise ValueError(
                    f"tensor {name!r} takes {size} bytes, its file {location!r} has {status.st_size} for all: "
                    f"not {length} from {offset} on"
                )
            self._left[location] = left - size
            file.seek(offset)
            return file.read(size)


def _opener(path: str, flags: int) -> int:
    """Follow no link, and do not wait for a pipe."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def read_tensor(found: Mapping[str, Any], beside: Beside) -> NumPyArray:
    """Return the values of a message of the schema `TENSOR`.

    Parameters
    ----------
    found : dict
    beside : Beside

    Returns
    -------
    array
        NumPy; of objects where they are strings; bfloat16 as float32, which holds all its values.

    Raises
    ------
    ValueError
        If dtype, shape and values do not fit each other, or the dtype is none that is read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from portable_nn.readers.onnx_tensors import TENSOR, Beside, read_tensor
    >>> from portable_nn.readers.protobuf import read_message
    >>> message = read_message(bytes([8, 2, 16, 3, 42, 2, 7, 9]), TENSOR)  # int8 of shape (2,)
    >>> read_tensor(message, Beside(Path("net.onnx")))
    array([7, 9], dtype=int8)
    """
    name, number, shape = found.get("name", ""), found.get("data_type", 0), tuple(found["dims"])
    if number not in DTYPES or "segment" in found:
        raise ValueError(
            f"tensor {name!r} has values of type {number}, wanted one of {', '.join(DTYPES.values())}"
        )
    dtype = DTYPES[number]
    check_shape(shape)
    count = prod(shape)
    if dtype == "str":
        return _strings(found["string_data"], shape)
    stored = np.dtype(BITS.get(dtype, dtype)).newbyteorder("<")
    size = count * stored.itemsize
    if found.get("data_location") == 1:
        entries = {entry.get("key", ""): entry.get("value", "") for entry in found["external_data"]}
        values = np.frombuffer(beside.read(entries, size, name), stored)
    elif "raw_data" in found:
        if len(found["raw_data"]) != size:
            raise ValueError(
                f"tensor {name!r} of shape {shape} takes {size} bytes, {len(found['raw_data'])} came"
            )
        values = np.frombuffer(found["raw_data"], stored)
    else:
        values = _typed(found[FIELDS.get(dtype, "int32_data")], count, stored, name)
    decoded: NumPyArray = _decoded(values, dtype).reshape(shape)
    return decoded


def _strings(values: list[str], shape: tuple[int, ...]) -> NumPyArray:
    strings = np.empty(len(values), dtype=object)
    strings[:] = values
    return strings.reshape(shape)


def _typed(values: "array[Any]", count: int, dtype: np.dtype[Any], name: str) -> NumPyArray:
    """Numbers of a field that is wider than they are."""
    if len(values) != count:
        raise ValueError(f"tensor {name!r} takes {count} values, {len(values)} came")
    wide = np.frombuffer(values, values.typecode) if values else np.empty(0, values.typecode)
    found = wide.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(found, wide):
        raise ValueError(f"tensor {name!r} has values beyond {dtype.name}")
    return found


def _decoded(values: NumPyArray, dtype: str) -> Any:
    """Values of a dtype from how they are stored; bfloat16 is the upper half of float32."""
    match dtype:
        case "bool":
            return values != 0
        case "float16":
            return values.astype("=u2").view(np.float16)
        case "bfloat16":
            return (values.astype("=u4") << 16).view(np.float32)
    return values.astype(values.dtype.newbyteorder("="), copy=False)
