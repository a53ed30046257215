"""Data of any length in, results of any length out, a batch at a time."""

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import numpy as np

from portable_nn._typing import Array
from portable_nn.errors import FormatError, ShapeError
from portable_nn.readers.idx import open_idx
from portable_nn.readers.npy import open_npy

__all__ = ["NpyWriter", "batches", "opened"]


def opened(data: Any) -> Any:
    """Data itself, or the memory map of the file that a path names.

    Raises
    ------
    FormatError
        If the file is neither a .npy of real numbers nor an IDX file.
    ShapeError
        If it holds a single number.
    """
    if not isinstance(data, (str, os.PathLike)):
        return data
    found = _mapped(Path(data))
    if found.ndim < 1:
        raise ShapeError(f"{data} holds one number: data have samples along their first axis")
    return found


def _mapped(path: Path) -> np.ndarray[Any, Any]:
    if path.suffix.lower() not in (".npy", "", ".gz") and "idx" not in path.name:
        raise FormatError(f"{path} is of a kind that is not read: give a .npy or IDX file")
    if path.suffix.lower() != ".npy":
        return open_idx(path)
    return open_npy(path)


def batches(data: Any, size: int, start: int = 0) -> Iterator[Array]:
    """Successive batches of at most `size` samples, leaving out the first `start`.

    Parameters
    ----------
    data : array, or iterable of arrays
        With samples along the first axis. Anything with a shape that can be sliced is an array: NumPy's and
        other libraries', memory maps, zarr's. An iterable gives batches, which are cut where they are longer.
    size, start : int
        Samples.
    """
    if hasattr(data, "shape"):
        n = data.shape[0]
        for i in range(start, n or start + 1, size):  # no samples are one empty batch
            yield _native(data[i : min(i + size, n), ...])
        return
    if not isinstance(data, Iterable):
        raise FormatError(f"data must be an array, a path, or an iterable of batches, got {type(data).__name__}")
    for batch in data:
        if not getattr(batch, "shape", None):
            raise ShapeError("an iterable of data gives batches, arrays with samples along the first axis")
        skipped = min(start, batch.shape[0])
        start -= skipped
        if skipped < batch.shape[0]:
            yield from batches(batch, size, skipped)


def _native(batch: Array) -> Array:
    """The batch, in the machine's byte order, which IDX files have not."""
    if isinstance(batch, np.ndarray) and not batch.dtype.isnative:
        return batch.astype(batch.dtype.newbyteorder("="))
    return batch


class NpyWriter:
    """A .npy file that grows row by row, appears when it is whole, and goes on where a killed run stopped.

    Rows go to a file beside `path` whose name ends in a digest of `identity` and ``.partial``; what it holds
    is how far the work is. When all is written it takes the place of `path`.

    Parameters
    ----------
    path : str or path-like
    identity : str or None
        What the rows depend on: only the same work is gone on with, none if it cannot be told.
    """

    def __init__(self, path: str | os.PathLike[str], identity: str | None) -> None:
        self.path = Path(path)
        self.resumable = identity is not None
        digest = sha256((identity or uuid4().hex).encode()).hexdigest()[:16]
        self.partial = self.path.with_name(f"{self.path.name}.{digest}.partial")
        self.rows = 0
        self._row: tuple[np.dtype[Any], tuple[int, ...]] | None = None
        self._file = self.partial.open("r+b" if self.partial.exists() else "w+b", buffering=0)
        try:
            self._go_on()
        except ValueError:  # killed before its header was whole
            self._file.truncate(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._write_header()
                os.fsync(self._file.fileno())
        if kind is None:
            os.replace(self.partial, self.path)
        elif not self.resumable:
            self.partial.unlink()

    def append(self, rows: np.ndarray[Any, Any]) -> None:
        """Write rows after those before, which are of the same dtype and shape."""
        row = rows.dtype, rows.shape[1:]
        if self._row is None:
            self._row = row
            self._write_header()
        if row != self._row:
            before, now = (f"{dtype} of shape {shape}" for dtype, shape in (self._row, row))
            raise ShapeError(f"results are {before}, then {now}: give batches of one dtype and shape")
        view = memoryview(rows.tobytes())
        while view:
            view = view[self._file.write(view) :]
        self.rows += len(rows)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was appended, not even no rows."""
        return self._row is None

    def _go_on(self) -> None:
        """Take up what a run before this one has written, up to its last whole row."""
        np.lib.format.read_magic(self._file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(self._file)
        start, bytes_per_row = self._file.tell(), dtype.itemsize * prod(shape[1:])
        self.rows = (self._file.seek(0, os.SEEK_END) - start) // bytes_per_row
        self._row = dtype, shape[1:]
        self._file.truncate(start + self.rows * bytes_per_row)
        self._file.seek(0, os.SEEK_END)

    def _write_header(self) -> None:
        """Write the header for the rows so far; numpy.lib.format leaves room in it for their number to grow."""
        if self._row is None:
            return
        dtype, row = self._row
        descr = np.lib.format.dtype_to_descr(dtype)
        header = {"shape": (self.rows, *row), "fortran_order": False, "descr": descr}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header)
