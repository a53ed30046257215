"""Results that grow on disk, appear when they are whole, and go on where a killed run stopped.

Until then they lie beside the path that was asked for, under a name that ends in a digest of what they depend on
and ``.partial``: only the same work goes on with them. One process at a time does.
"""

import os
from hashlib import sha256
from io import BytesIO
from math import prod
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from uuid import uuid4

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.errors import FormatError, ShapeError
from portable_nn.readers.npy import read_header
from portable_nn.writing import lock, naming, settle

__all__ = ["NpyWriter", "locked_partial", "partial_path"]

NOTHING: tuple[np.dtype[Any], tuple[int, ...]] = np.dtype("V0"), ()
"""The dtype and shape of a row before the first one."""

SHORTEST_HEADER = 128  # as numpy.lib.format writes it, with the magic string


def partial_path(path: Path, identity: str | None) -> Path:
    """Where the results lie before they are whole; a new name where it cannot be told what they depend on."""
    digest = sha256((identity or uuid4().hex).encode()).hexdigest()[:16]
    return path.with_name(f"{path.name}.{digest}.partial")


def locked_partial(held: Path, path: Path) -> IO[bytes]:
    """A file, made if there is none, that no other process holds; `path` is what the user knows.

    Raises
    ------
    OutputError
        If another process does.
    """
    while True:
        with naming(held):
            held.touch()
            file = held.open("r+b", buffering=0)
        try:
            lock(file.fileno(), path)
            if os.path.exists(held) and os.path.samestat(os.fstat(file.fileno()), os.stat(held)):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # whoever held it has finished meanwhile, and given it its name


class NpyWriter:
    """A .npy file that grows row by row.

    Parameters
    ----------
    path : str or path-like
    identity : str or None
        What the rows depend on, None if it cannot be told.
    step : int
        Rows of a batch, a multiple of which is kept: a batch that is computed in other pieces may differ in the
        last bits.
    overwrite : bool
        Whether the file may take the place of an older one.

    Attributes
    ----------
    rows : int
        Those that are there.
    """

    path: Path
    partial: Path
    resumable: bool
    rows: int

    def __init__(
        self, path: str | os.PathLike[str], identity: str | None, *, step: int = 1, overwrite: bool = True
    ) -> None:
        self.path, self._step, self._overwrite = Path(path), step, overwrite
        self.resumable = identity is not None
        self.partial = partial_path(self.path, identity)
        self.rows = 0
        self._row: tuple[np.dtype[Any], tuple[int, ...]] = NOTHING
        self._gone_on = False
        self._file = locked_partial(self.partial, self.path)
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
                with naming(self.path):
                    self._file.seek(0)
                    self._file.write(self._header(self.rows))
                    os.fsync(self._file.fileno())
                settle(self.partial, self.path, overwrite=self._overwrite)
            elif not self.resumable:
                self.partial.unlink()

    def append(self, rows: NumPyArray) -> None:
        """Write rows after those before, which are of the same dtype and shape."""
        row = rows.dtype, rows.shape[1:]
        if self.is_empty:
            self._row = row
            self._write(self._header())
        if row != self._row and self._gone_on:
            raise FormatError(f"{self.partial} has other results than these: delete it, and begin anew")
        if row != self._row:
            before, now = (f"{dtype} of shape {shape}" for dtype, shape in (self._row, row))
            raise ShapeError(f"results are {before}, then {now}: give batches of one dtype and shape")
        self._write(rows.tobytes())
        self.rows += len(rows)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was appended, not even no rows."""
        return self._row is NOTHING

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        with naming(self.path):
            while view:
                view = view[self._file.write(view) :]

    def _go_on(self) -> None:
        """Take up what a run before this one has written, but for its last batch, which is to prove it."""
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
        self.rows = max(0, (length - start) // bytes_per_row - 1) // self._step * self._step
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
