"""HDF5 files: groups of named arrays, and texts as their attributes.

libhdf5 follows links into other files, reads arrays from files that a file names, runs filters, gives arrays that
were never written, and loops for ever on some damaged files. A file of weights needs none of that, so it is read
here: every link of a path is a hard link, and every array is one piece of the file (its layout contiguous or
compact). What is read may take 64 MiB more than the file.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from mmap import ACCESS_READ, mmap
from typing import Any

import numpy as np

from portable_nn.errors import FormatError
from portable_nn.readers.buffers import Budget, as_array, check_shape, reading
from portable_nn.readers.hdf5_storage import UNDEFINED, Storage

__all__ = ["HDF5", "open_hdf5"]

MAX_LINKS = 10_000  # of a group with all that is below it
MAX_DEPTH = 32  # of groups in groups; hard links may make a circle

DAMAGE = (ValueError, LookupError, struct.error)

DATASPACE, DATATYPE, EXTERNAL, LAYOUT, FILTERS = 0x01, 0x03, 0x07, 0x08, 0x0B
FIXED, FLOATING, STRING, OPAQUE, VARIABLE = 0, 1, 3, 5, 9

FLOATS = {
    (2, 10, 5, 10, 15): "f2",
    (2, 7, 8, 7, 127): "bfloat16",
    (4, 23, 8, 23, 127): "f4",
    (8, 52, 11, 52, 1023): "f8",
}
"""By bytes, where the exponent lies, its width, that of the mantissa, and the bias."""


class HDF5:
    """An open file; made by `open_hdf5`.

    Parameters
    ----------
    data : buffer
        The whole file.
    source : str or path-like
        What errors name.
    """

    def __init__(self, data: Any, source: object) -> None:
        self._source, self._budget = source, Budget(len(data))
        try:
            self._storage = Storage(data)
        except DAMAGE as error:
            raise FormatError(f"{source} is not an HDF5 file: {error}; fetch or write it anew") from error

    def text(self, path: str, name: str) -> str | None:
        """Read an attribute that is one string, of fixed or variable length.

        Parameters
        ----------
        path : str
            Of a group or an array, ``""`` for the root.
        name : str

        Returns
        -------
        str or None
            None where there is no such attribute.

        Raises
        ------
        FormatError
            If there is nothing at the path, or the attribute is no string.

        Examples
        --------
        >>> import io
        >>> import h5py
        >>> from portable_nn.readers.hdf5 import open_hdf5
        >>> data = io.BytesIO()
        >>> with h5py.File(data, "w") as file:
        ...     file.attrs["keras_version"] = "2.4.0"
        >>> with open_hdf5(data.getvalue(), "model.h5") as file:
        ...     file.text("", "keras_version")
        '2.4.0'
        """
        with self._reading(f"attribute {name!r} of {path or '/'!r}"):
            for body in self._storage.attributes(self._found(path)):
                found, kind, space, value = _attribute(body)
                if found == name.encode():
                    return self._decoded(kind, _shape(space), value)
            return None

    def array(self, path: str) -> np.ndarray[Any, Any]:
        """Read an array of numbers.

        Parameters
        ----------
        path : str
            Names, with slashes between.

        Returns
        -------
        array
            NumPy, of a real dtype in native byte order; bfloat16, which NumPy lacks, as float32.

        Raises
        ------
        FormatError
            If there is none, or a link on the way is not a hard one, or the values are no numbers or lie
            elsewhere than in one piece in the file.

        Examples
        --------
        >>> import io
        >>> import h5py
        >>> from portable_nn.readers.hdf5 import open_hdf5
        >>> data = io.BytesIO()
        >>> with h5py.File(data, "w") as file:
        ...     file["dense/bias"] = [0.5, 2.0]
        >>> with open_hdf5(data.getvalue(), "model.h5") as file:
        ...     file.array("dense/bias")
        array([0.5, 2. ])
        """
        with self._reading(f"array {path!r}"):
            messages = dict(self._storage.messages(self._found(path)))
            if EXTERNAL in messages:
                raise ValueError("its values are in another file, which is not opened: save the model anew")
            if FILTERS in messages:
                raise ValueError("its values are filtered: rewrite the file with h5repack -f NONE")
            if not {DATASPACE, DATATYPE, LAYOUT} <= messages.keys():
                raise ValueError("it is no array")
            shape, dtype = _shape(messages[DATASPACE]), _dtype(messages[DATATYPE])
            narrow = dtype[1:] == "bfloat16"
            if narrow:
                dtype = f"{dtype[0]}u2"
            length = prod(shape) * int(dtype[2:])
            data = self._values(messages[LAYOUT], length)
            self._budget.spend(len(data))
            array = as_array(data, dtype, shape)
            return (array.astype(np.uint32) << 16).view(np.float32) if narrow else array

    def arrays(self, path: str) -> list[str]:
        """Find the arrays in a group and in the groups below it.

        Parameters
        ----------
        path : str
            Of the group, ``""`` for the root.

        Returns
        -------
        list of str
            Their paths from that group on, in the order of their names; none where there is no such group.

        Raises
        ------
        FormatError
            If a link on the way is not a hard one, or there are too many.

        Examples
        --------
        >>> import io
        >>> import h5py
        >>> from portable_nn.readers.hdf5 import open_hdf5
        >>> data = io.BytesIO()
        >>> with h5py.File(data, "w") as file:
        ...     file["dense/dense/bias"] = [0.5, 2.0]
        >>> with open_hdf5(data.getvalue(), "model.h5") as file:
        ...     file.arrays("dense"), file.arrays("dropout")
        (['dense/bias'], [])
        """
        with self._reading(f"group {path or '/'!r}"):
            try:
                groups = [("", self._found(path))]
            except KeyError:
                return []
            found, links = [], 0
            while groups:
                prefix, group = groups.pop()
                if prefix.count("/") > MAX_DEPTH:
                    raise ValueError(f"it has groups in groups more than {MAX_DEPTH} deep")
                for name, target in self._storage.links(group).items():
                    links += 1
                    if links > MAX_LINKS:
                        raise ValueError(f"it holds more than {MAX_LINKS} links")
                    member = _hard(name, target)
                    if any(kind == LAYOUT for kind, _ in self._storage.messages(member)):
                        found.append(f"{prefix}{name}")
                    else:
                        groups.append((f"{prefix}{name}/", member))
            return sorted(found)

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            match error:
                case KeyError(args=(name,)):
                    why = f"there is no {name!r}"
                case ValueError():
                    why = str(error)
                case _:
                    why = "it is damaged"
            raise FormatError(f"{self._source}: {what} cannot be read: {why}") from error

    def _found(self, path: str) -> int:
        """The address of the header of what is at a path."""
        found = self._storage.root
        for name in path.split("/") if path else ():
            found = _hard(name, self._storage.links(found)[name])
        return found

    def _values(self, layout: bytes, length: int) -> Any:
        """The bytes of an array that lies in one piece."""
        version, kind = layout[:2]
        if version not in (3, 4, 5) or kind not in (0, 1):
            raise ValueError("its values are not in one piece: rewrite the file with h5repack -l CONTI")
        if kind == 0:
            (size,) = struct.unpack_from("<H", layout, 2)
            return layout[4 : 4 + size]
        address, size = struct.unpack_from("<QQ", layout, 2)
        if address == UNDEFINED and length == 0:
            return b""
        return self._storage.values(address, size)

    def _decoded(self, kind: bytes, shape: tuple[int, ...], value: bytes) -> str:
        if shape != ():
            raise ValueError("it is no single value")
        if kind[0] & 15 == STRING:
            (size,) = struct.unpack_from("<I", kind, 4)
            return value[:size].rstrip(b"\0").decode()
        if kind[0] & 15 != VARIABLE or kind[1] & 15 != 1:
            raise ValueError("it is no text")
        length, heap, index = struct.unpack_from("<IQI", value)
        text = self._storage.global_object(heap, index)[:length]
        self._budget.spend(len(text))
        return bytes(text).rstrip(b"\0").decode()


@contextmanager
def open_hdf5(data: str | os.PathLike[str] | bytes | memoryview, source: object = None) -> Iterator[HDF5]:
    """Open an HDF5 file, or one whose bytes are given.

    Parameters
    ----------
    data : str, path-like, bytes or memoryview of bytes
    source : str or path-like, optional
        What errors name; the path where one is given.

    Yields
    ------
    HDF5

    Raises
    ------
    FormatError
        If the file cannot be read, or is no HDF5 file.

    Examples
    --------
    >>> import io
    >>> import h5py
    >>> from portable_nn.readers.hdf5 import open_hdf5
    >>> data = io.BytesIO()
    >>> with h5py.File(data, "w") as file:
    ...     file["bias"] = [1, 2]
    >>> with open_hdf5(data.getvalue(), "model.h5") as file:
    ...     file.array("bias")
    array([1, 2])
    """
    if isinstance(data, bytes | memoryview):
        yield HDF5(data, source)
        return
    with reading(data, "an HDF5 file", "fetch or write it anew", ValueError), open(data, "rb") as file:
        whole = mmap(file.fileno(), 0, access=ACCESS_READ)
    yield HDF5(whole, data if source is None else source)


def _hard(name: str, target: int | None) -> int:
    if target is None:
        raise ValueError(f"{name!r} is a link to elsewhere, which is not followed: copy what it stands for")
    return target


def _shape(space: bytes) -> tuple[int, ...]:
    """The shape that a dataspace message says."""
    version, rank = space[:2]
    if version == 2 and space[3] == 2:
        raise ValueError("it has no values")
    shape = struct.unpack_from(f"<{rank}Q", space, 8 if version == 1 else 4)
    if version not in (1, 2):
        raise ValueError(f"its dataspace has version {version}: known are 1 and 2")
    check_shape(shape)
    return shape


def _dtype(kind: bytes) -> str:
    """The dtype that a datatype message says, with its byte order in front."""
    if not kind:
        raise ValueError("its type is stored elsewhere")
    order = ">" if kind[1] & 1 else "<"
    (size,) = struct.unpack_from("<I", kind, 4)
    if kind[0] & 15 == OPAQUE and size == 2:  # as h5py stores it
        return "<bfloat16"
    if kind[0] & 15 in (FIXED, FLOATING) and struct.unpack_from("<HH", kind, 8) == (0, 8 * size):
        if kind[0] & 15 == FIXED:
            return f"{order}{'i' if kind[1] & 8 else 'u'}{size}"
        place, width, start, mantissa, bias = struct.unpack_from("<BBBBI", kind, 12)
        name = FLOATS.get((size, place, width, mantissa, bias))
        if name and start == 0 and not kind[1] & 64:
            return order + name
    raise ValueError("its values are no numbers that NumPy has")


def _attribute(body: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """The name, the datatype, the dataspace and the value of an attribute message."""
    version, shared, *lengths = struct.unpack_from("<BBHHH", body)
    if version not in (1, 2, 3) or (version > 1 and shared & 3):
        raise ValueError("it is stored in an unusual way")
    at, parts = 9 if version == 3 else 8, []
    for length in lengths:
        parts.append(body[at : at + length])
        at += length + (-length % 8 if version == 1 else 0)
    name, kind, space = parts
    return name.rstrip(b"\0"), kind, space, body[at:]
