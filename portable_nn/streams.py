"""Data of any length in, results of any length out, a batch at a time."""

import os
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import numpy as np

from portable_nn._arrays import namespace
from portable_nn._typing import Array, Namespace
from portable_nn.errors import FormatError, InputError, ShapeError
from portable_nn.readers.idx import open_idx
from portable_nn.readers.npy import open_npy, read_header

__all__ = ["NpyWriter", "array_of", "batches", "number_of_samples", "opened"]


NOTHING: tuple[np.dtype[Any], tuple[int, ...]] = np.dtype("V0"), ()
"""The dtype and shape of a row before the first one."""

SHORTEST_HEADER = 128  # as numpy.lib.format writes it, with the magic string


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
        n = number_of_samples(data)
        for i in range(start, n or start + 1, size):  # no samples are one empty batch
            yield data[i : min(i + size, n), ...]
        return
    for batch in data:
        array_of(batch)
        skipped = min(start, number_of_samples(batch))
        start -= skipped
        if skipped < batch.shape[0]:
            yield from batches(batch, size, skipped)


def array_of(data: Any) -> tuple[Array, Namespace]:
    """Data if they are an array, or a slice of them if that is one, as for zarr and h5py; and its namespace.

    Raises
    ------
    InputError
        If neither is: what a network refuses is refused in the same words wherever it comes.
    """
    try:
        return data, namespace(data)
    except InputError as refusal:
        try:
            part = data[:1]
            return part, namespace(part)
        except Exception:  # a foreign class raises what it likes
            raise refusal from None


def number_of_samples(data: Array) -> int:
    """The length of the first axis.

    Raises
    ------
    ShapeError
        If there is none, or Dask does not know it.
    """
    shape = getattr(data, "shape", None)
    if not shape:
        came = "one number" if shape == () else type(data).__name__
        raise ShapeError(f"data, and batches of them, are arrays with samples along their first axis, got {came}")
    if shape[0] != shape[0]:
        raise ShapeError("these Dask arrays have chunks of unknown size: call x.compute_chunk_sizes() first")
    return shape[0]  # type: ignore[no-any-return]


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
        self._row: tuple[np.dtype[Any], tuple[int, ...]] = NOTHING
        self._gone_on = False
        self._file = self.partial.open("r+b" if self.partial.exists() else "w+b", buffering=0)
        try:
            self._go_on()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._file.write(self._header(self.rows))
                os.fsync(self._file.fileno())
        if kind is None:
            os.replace(self.partial, self.path)
        elif not self.resumable:
            self.partial.unlink()

    def append(self, rows: np.ndarray[Any, Any]) -> None:
        """Write rows after those before, which are of the same dtype and shape."""
        row = rows.dtype, rows.shape[1:]
        if self.is_empty:
            self._row = row
            self._file.write(self._header())
        if row != self._row and self._gone_on:
            raise FormatError(f"{self.partial} has other results than these: delete it, and begin anew")
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
        return self._row is NOTHING

    def _go_on(self) -> None:
        """Take up what a run before this one has written, but for its last row, which is to prove the others."""
        length = os.fstat(self._file.fileno()).st_size
        if length < SHORTEST_HEADER:  # killed before its header was whole
            self._file.truncate(0)
            return
        try:
            dtype, shape, _ = read_header(self._file)
        except ValueError as error:
            raise FormatError(f"{self.partial} is damaged ({error}): delete it, and begin anew") from error
        self._row, self._gone_on = (dtype, shape[1:]), True
        start, bytes_per_row = self._file.tell(), dtype.itemsize * prod(shape[1:])
        self._file.seek(0)
        if self._file.read(start) != self._header(*shape[:1]) or not bytes_per_row:
            raise FormatError(f"{self.partial} has a header that was not written here: delete it, and begin anew")
        self.rows = max(0, (length - start) // bytes_per_row - 1)
        self._file.seek(start + self.rows * bytes_per_row)
        self._file.truncate()

    def _header(self, rows: int = 0) -> bytes:
        """The header for so many rows; numpy.lib.format leaves room in it for their number to grow."""
        dtype, row = self._row
        file = BytesIO()
        descr = np.lib.format.dtype_to_descr(dtype)
        header = {"shape": (rows, *row), "fortran_order": False, "descr": descr}
        np.lib.format.write_array_header_1_0(file, header)
        return file.getvalue()
