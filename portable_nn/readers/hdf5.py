"""HDF5 files: groups of named arrays, and texts as their attributes.

libhdf5 follows links into other files, reads arrays from files that a file names, runs filters, and gives arrays
that were never written. A file of weights needs none of that, so what is read here lies whole and plain in the
file itself: every link of a path is a hard link, and every array is one piece of it (layout contiguous or
compact). So what is read takes no more memory than the file has bytes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from math import prod
from typing import IO, Any

import numpy as np

from portable_nn.errors import FormatError
from portable_nn.readers.buffers import check_kind, check_shape, reading

__all__ = ["HDF5", "open_hdf5"]

MAX_LINKS = 10_000  # of a group with all that is below it
MAX_DEPTH = 32  # of groups in groups; hard links may make a circle

DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, OverflowError, MemoryError, SystemError)
"""What h5py raises on damaged bytes."""


class HDF5:
    """An open file; made by `open_hdf5`.

    Parameters
    ----------
    file : h5py.File
    source : str or path-like
        What errors name.
    size : int
        The length of the file in bytes: all arrays that are read may take as many.
    """

    def __init__(self, file: Any, source: object, size: int) -> None:
        import h5py

        self._h5py, self._root, self._source, self._left = h5py, file["/"].id, source, size

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
        h5py = self._h5py
        with self._reading(f"attribute {name!r} of {path or '/'!r}"):
            owner = self._found(path)
            if not h5py.h5a.exists(owner, name.encode()):
                return None
            attribute = h5py.h5a.open(owner, name.encode())
            kind = attribute.get_type()
            if attribute.get_space().get_simple_extent_type() != h5py.h5s.SCALAR:
                raise ValueError("it is no single value")
            if kind.get_class() != h5py.h5t.STRING:
                raise ValueError("it is no text")
            self._take(0 if kind.is_variable_str() else kind.get_size())
            value = h5py.AttributeManager(h5py.Group(owner) if self._is_group(owner) else h5py.Dataset(owner))[
                name
            ]
            return value.decode() if isinstance(value, bytes) else str(value)

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
            data = self._found(path)
            if not isinstance(data, self._h5py.h5d.DatasetID):
                raise ValueError("it is no array")
            return self._values(data)

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
                for name in self._names(group):
                    links += 1
                    if links > MAX_LINKS:
                        raise ValueError(f"it holds more than {MAX_LINKS} links")
                    member = self._followed(group, name)
                    if self._is_group(member):
                        groups.append((f"{prefix}{name}/", member))
                    else:
                        found.append(f"{prefix}{name}")
            return sorted(found)

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            why = f"it has no {error.args[0]!r}" if isinstance(error, KeyError) and error.args else error
            raise FormatError(f"{self._source}: {what} cannot be read: {why}") from error

    def _is_group(self, found: Any) -> bool:
        return isinstance(found, self._h5py.h5g.GroupID)

    def _names(self, group: Any) -> list[str]:
        if not self._is_group(group):
            raise ValueError("it is no group")
        return [name.decode() for name in group]

    def _found(self, path: str) -> Any:
        found = self._root
        for name in path.split("/") if path else ():
            found = self._followed(found, name)
        return found

    def _followed(self, group: Any, name: str) -> Any:
        h5py, encoded = self._h5py, name.encode()
        if not self._is_group(group) or not name or name == "." or not group.links.exists(encoded):
            raise KeyError(name)
        if group.links.get_info(encoded).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{name!r} is a link to elsewhere, which is not followed: copy what it stands for")
        return h5py.h5o.open(group, encoded)

    def _values(self, data: Any) -> np.ndarray[Any, Any]:
        h5py = self._h5py
        properties = (
            data.get_create_plist()
        )  # first: to ask a virtual array for its shape opens the files it names
        if properties.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
            raise ValueError("its values are not in one piece: rewrite the file with h5repack -l CONTI")
        if properties.get_external_count():
            raise ValueError("its values are in another file, which is not opened: save the model anew")
        if properties.get_nfilters():
            raise ValueError("its values are filtered: rewrite the file with h5repack -f NONE")
        kind, space = data.get_type(), data.get_space()
        if space.get_simple_extent_type() == h5py.h5s.NULL:
            raise ValueError("it has no values")
        shape = space.get_simple_extent_dims()
        check_shape(shape)
        opaque = kind.get_class() == h5py.h5t.OPAQUE and kind.get_size() == 2  # as h5py stores bfloat16
        if kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) and not opaque:
            raise ValueError("its values are no numbers")
        dtype = np.dtype("V2") if opaque else kind.dtype.newbyteorder("=")
        if not opaque:
            check_kind(dtype.str[1:])
        length = prod(shape) * dtype.itemsize
        if data.get_storage_size() != length or kind.get_size() != dtype.itemsize:
            raise ValueError(f"shape {shape} takes {length} bytes, the file has {data.get_storage_size()}")
        self._take(length)
        values = np.empty(shape, dtype)
        if length:
            data.read(h5py.h5s.ALL, h5py.h5s.ALL, values, kind if opaque else None)
        return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32) if opaque else values

    def _take(self, length: int) -> None:
        if length > self._left:
            raise ValueError(f"its {length} bytes, with what was read before, are more than the file has")
        self._left -= length


@contextmanager
def open_hdf5(data: str | os.PathLike[str] | bytes, source: object = None) -> Iterator[HDF5]:
    """Open an HDF5 file, or one whose bytes are given.

    Parameters
    ----------
    data : str, path-like or bytes
    source : str or path-like, optional
        What errors name; the path where one is given.

    Yields
    ------
    HDF5

    Raises
    ------
    FormatError
        If h5py is missing, or the file cannot be read, or is no HDF5 file.

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
    source = data if source is None else source
    try:
        import h5py
    except ImportError as error:
        raise FormatError(f'{source} is HDF5, which h5py reads: pip install "portable-nn[keras]"') from error
    with _stream(data, source) as stream:
        size = stream.seek(0, os.SEEK_END)
        try:
            file = h5py.File(stream, "r")
        except DAMAGE as error:
            raise FormatError(f"{source} is not an HDF5 file: {error}; fetch or write it anew") from error
        with file:
            yield HDF5(file, source, size)


@contextmanager
def _stream(data: Any, source: object) -> Iterator[IO[bytes]]:
    if isinstance(data, bytes):
        yield BytesIO(data)
        return
    with reading(str(source), "an HDF5 file", "fetch or write it anew"):
        file = open(data, "rb")  # noqa: SIM115
    with file:
        yield file
