"""Results that grow on disk, appear when they are whole, and go on where a killed run stopped.

Until then they lie beside the path that was asked for, under a name that ends in a digest of what they depend on
and ``.partial``: only the same work goes on with them. One process at a time does. Several results by name lie in
a folder, and appear together; a run that goes on begins where the shortest of them ends.
"""

import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import ExitStack
from hashlib import sha256
from io import BytesIO
from math import prod
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from uuid import uuid4

import numpy as np

from portable_nn._arrays import first_of
from portable_nn._typing import NumPyArray
from portable_nn.errors import FormatError, InputError, ShapeError
from portable_nn.parts import named
from portable_nn.readers.npy import read_header
from portable_nn.writing import lock, naming, settle

__all__ = ["LOCK", "NpyWriter", "Writer", "files_of"]

LOCK = ".lock"
"""The file in a folder that its writer holds: what the results depend on."""

OF_ONE = ".npy", ".npz", ".csv"
"""What a file of one array, and no folder, is called."""

NOTHING: tuple[np.dtype[Any], tuple[int, ...]] = np.dtype("V0"), ()
"""The dtype and shape of a row before the first one."""

SHORTEST_HEADER = 128  # as numpy.lib.format writes it, with the magic string


def files_of(path: str | os.PathLike[str], names: Iterable[str]) -> dict[str, str]:
    """What each result is called in a folder or group: its name, without signs that a path gives a meaning to.

    Raises
    ------
    InputError
        If the path is that of a file for one array, or, without names, none.

    Examples
    --------
    >>> from portable_nn.results import files_of
    >>> files_of("results", ["mean", "log/variance:0"])
    {'mean': 'mean.npy', 'log/variance:0': 'log_variance_0.npy'}
    >>> files_of("results.zarr", ["mean"])
    {'mean': 'mean'}
    """
    names, suffix = tuple(names), Path(path).suffix
    if not names and suffix not in (".npy", ".zarr"):
        raise InputError(f"results are written as .npy or as .zarr: name labels.npy or labels.zarr, got {path}")
    if names and suffix in OF_ONE:
        raise InputError(f"several outputs go to a folder or a .zarr: name results or results.zarr, got {path}")
    found: dict[str, str] = {}
    for name in names:
        plain = free = re.sub(r"[^A-Za-z0-9_-]", "_", name) or "_"
        i = 1
        while free.lower() in {other.removesuffix(".npy").lower() for other in found.values()}:
            i += 1
            free = f"{plain}-{i}"
        found[name] = free if suffix == ".zarr" else f"{free}.npy"
    return found


class Writer(ABC):
    """One array, or several by name, that grow beside their path and take its name once they are whole.

    Parameters
    ----------
    path : str or path-like
    identity : str or None
        What the rows depend on, None if it cannot be told.
    names : iterable of str
        Of several results, none for one.
    in_folder : bool
        Whether one result is a folder; several are.
    overwrite : bool
        Whether the path may take the place of an older one.

    Attributes
    ----------
    partial : Path
        The file or folder until it is whole.
    places : dict of str to Path
        Where each result grows; of one, under no name.
    rows : int
        Those that are there.

    Raises
    ------
    OutputError
        If another process writes the same.
    """

    path: Path
    partial: Path
    places: dict[str, Path]
    resumable: bool
    rows: int

    def __init__(
        self,
        path: str | os.PathLike[str],
        identity: str | None,
        *,
        names: Iterable[str],
        in_folder: bool,
        overwrite: bool,
    ) -> None:
        files = files_of(path, names) if names else {}
        self.path, self._overwrite = Path(path), overwrite
        self.resumable = identity is not None
        digest = sha256((identity or uuid4().hex).encode()).hexdigest()[:16]
        self.partial = self.path.with_name(f"{self.path.name}.{digest}.partial")
        self.places = {name: self.partial / file for name, file in files.items()} or {"": self.partial}
        self._in_folder = in_folder or bool(files)
        self._open = ExitStack()
        self._held = self._open.enter_context(self._locked())
        try:
            with naming(self.path):
                if self._in_folder:
                    self._held.write((identity or "").encode())
                self._begin()
        except BaseException:
            self._open.close()
            raise

    def _locked(self) -> IO[bytes]:
        """The file that no other process holds: the partial one, or one in the folder, made if there is none."""
        held = self.partial / LOCK if self._in_folder else self.partial
        while True:
            with naming(self.path):
                if self._in_folder:
                    self.partial.mkdir(exist_ok=True)
                try:
                    held.touch()
                    file = held.open("r+b", buffering=0)
                except FileNotFoundError:
                    if self._in_folder and not self.partial.exists():
                        continue  # whoever held it has finished meanwhile
                    raise
            try:
                lock(file.fileno(), self.path)
                if os.path.exists(held) and os.path.samestat(os.fstat(file.fileno()), os.stat(held)):
                    return file
            except BaseException:
                file.close()
                raise
            file.close()  # the same, and it has its name by now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            if kind is None:
                with naming(self.path):
                    self._finish()
                    if self._in_folder:
                        (self.partial / LOCK).unlink()
                settle(self.partial, self.path, overwrite=self._overwrite)
            elif not self.resumable:
                shutil.rmtree(self.partial) if self._in_folder else self.partial.unlink()

    @abstractmethod
    def append(self, rows: Any) -> None:
        """Write rows after those before, which are of the same dtype and shape; of several results a dict."""

    @property
    @abstractmethod
    def is_empty(self) -> bool:
        """Whether nothing was appended, not even no rows."""

    @abstractmethod
    def _begin(self) -> None:
        """Take up what a run before this one has left."""

    @abstractmethod
    def _finish(self) -> None:
        """Make whole what is there."""


class NpyWriter(Writer):
    """A .npy file that grows row by row, or a folder of several.

    Parameters
    ----------
    path, identity, names, overwrite
        As of `Writer`.
    step : int
        Rows of a batch, a multiple of which is kept: a batch that is computed in other pieces may differ in the
        last bits.
    """

    rows: int

    def __init__(
        self,
        path: str | os.PathLike[str],
        identity: str | None,
        *,
        names: Iterable[str] = (),
        step: int = 1,
        overwrite: bool = True,
    ) -> None:
        self._step = step
        super().__init__(path, identity, names=names, in_folder=False, overwrite=overwrite)

    def _begin(self) -> None:
        self._arrays = {}
        for name, place in self.places.items():
            file = self._held
            if self._in_folder:
                place.touch()
                file = self._open.enter_context(place.open("r+b", buffering=0))
            self._arrays[name] = _Npy(file, place, self._step)
        self.rows = min(array.rows for array in self._arrays.values())

    def append(self, rows: Any) -> None:
        """As of `Writer`; a result that is ahead of the others has the rows already."""
        with naming(self.path):
            for name, part in named(rows).items():
                if self._arrays[name].rows == self.rows:
                    self._arrays[name].append(part)
        self.rows += len(first_of(rows))

    @property
    def is_empty(self) -> bool:
        """As of `Writer`."""
        return any(array.is_empty for array in self._arrays.values())

    def _finish(self) -> None:
        for array in self._arrays.values():
            array.finish()


class _Npy:
    """One array in a file that grows."""

    def __init__(self, file: IO[bytes], path: Path, step: int) -> None:
        self._file, self._path, self._step = file, path, step
        self.rows = 0
        self._row: tuple[np.dtype[Any], tuple[int, ...]] = NOTHING
        self._gone_on = False
        self._go_on()

    @property
    def is_empty(self) -> bool:
        return self._row is NOTHING

    def append(self, rows: NumPyArray) -> None:
        row = rows.dtype, rows.shape[1:]
        if self.is_empty:
            self._row = row
            self._write(self._header())
        if row != self._row and self._gone_on:
            raise FormatError(f"{self._path} has other results than these: delete it, and begin anew")
        if row != self._row:
            before, now = (f"{dtype} of shape {shape}" for dtype, shape in (self._row, row))
            raise ShapeError(f"results are {before}, then {now}: give batches of one dtype and shape")
        self._write(rows.tobytes())
        self.rows += len(rows)

    def finish(self) -> None:
        """Say in the header how many rows there are, and have them on disk."""
        self._file.seek(0)
        self._file.write(self._header(self.rows))
        os.fsync(self._file.fileno())

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
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
            raise FormatError(f"{self._path} is damaged ({error}): delete it, and begin anew") from error
        self._row, self._gone_on = (dtype, shape[1:]), True
        start, bytes_per_row = self._file.tell(), dtype.itemsize * prod(shape[1:])
        self._file.seek(0)
        if self._file.read(start) != self._header(*shape[:1]) or not bytes_per_row:
            raise FormatError(f"{self._path} has a header that was not written here: delete it, and begin anew")
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
