"""Results in a zarr array, one chunk a block: many processes may write it, each block on its own.

A chunk is encoded by zarr and written as a file here: whole, and on disk before it has its name, so that what is
there can be relied on after a kill or a loss of power. No label has the fill value, -1; that of outputs is nan.
"""

import os
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.errors import BackendError, FormatError, OutputError, ShapeError
from portable_nn.results import locked_partial, partial_path
from portable_nn.writing import naming, settle, write

__all__ = ["ZarrWriter", "check_folder", "open_result", "write_block", "write_group"]

METADATA, LOCK = "zarr.json", ".lock"
CHUNK = re.compile(r"c\.(\d+)(\.0)*")
LEFT_OVER = re.compile(r"\.[0-9a-f]{32}\.tmp")


def write_block(folder: str | os.PathLike[str], i: int, rows: NumPyArray, *, size: int, total: int) -> None:
    """Write one block of an array, and before the first one what describes the array.

    Parameters
    ----------
    folder : path-like
        The array, not yet whole.
    i : int
        The number of the block.
    rows : array
        `size` of them, or fewer in the last block.
    size, total : int
        Rows of a block, and of the array.
    """
    files = _encoded(rows, total, size)
    metadata = Path(folder, METADATA)
    described = files.pop(METADATA)
    if not metadata.exists():
        write(metadata, described)
    for chunk in files.values():
        write(Path(folder, f"c.{i}" + ".0" * (rows.ndim - 1)), chunk)


def write_group(folder: str | os.PathLike[str]) -> None:
    """Make a folder of arrays a group."""
    zarr = _zarr()
    files: dict[str, Any] = {}
    zarr.create_group(zarr.storage.MemoryStore(files), zarr_format=3)
    write(Path(folder, METADATA), files[METADATA].to_bytes())


def _encoded(rows: NumPyArray, total: int, size: int) -> dict[str, bytes]:
    """The files of a zarr array of so many rows, its first block filled with these if there are any."""
    zarr = _zarr()
    files: dict[str, Any] = {}
    array = zarr.create_array(
        zarr.storage.MemoryStore(files),
        shape=(total, *rows.shape[1:]),
        chunks=(size, *rows.shape[1:]),
        dtype=rows.dtype,
        fill_value=-1 if rows.dtype.kind == "i" else np.nan,
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
        zarr_format=3,
    )
    array[: len(rows)] = rows
    return {name: data.to_bytes() for name, data in files.items()}


def check_folder(folder: str, identity: str) -> None:
    """Raise an `OutputError` where another process does not see the folder into which a run writes."""
    _zarr()
    try:
        same = Path(folder, LOCK).read_text() == identity
    except OSError:
        same = False
    if not same:
        raise OutputError(f"{folder} is not to be seen there: results go to a folder that all machines share")


def open_result(path: str | os.PathLike[str]) -> Any:
    """The whole array, for reading."""
    return _zarr().open_array(path, mode="r")


def _zarr() -> Any:
    try:
        import zarr
    except ModuleNotFoundError:
        raise BackendError("results in a .zarr need zarr: pip install zarr") from None
    return zarr


class ZarrWriter:
    """A zarr array that grows block by block: in order by `append`, or in any order by `write_block`.

    Parameters
    ----------
    path : str or path-like
    identity : str or None
        What the rows depend on, None if it cannot be told.
    size : int
        Rows of a block.
    total : int or None
        Rows of the array, None if they are to be counted.
    overwrite : bool
        Whether the array may take the place of an older one.

    Attributes
    ----------
    partial : Path
        The folder until it is whole.
    rows : int
        Those of the first blocks that were there, and of what was appended.
    """

    path: Path
    partial: Path
    size: int
    resumable: bool
    rows: int

    def __init__(
        self, path: str | os.PathLike[str], identity: str | None, *, size: int, total: int | None, overwrite: bool
    ) -> None:
        _zarr()
        self.path, self.size, self._total, self._overwrite = Path(path), size, total, overwrite
        self.resumable = identity is not None
        self.partial = partial_path(self.path, identity)
        with naming(self.path):
            self.partial.mkdir(exist_ok=True)
        self._lock = locked_partial(self.partial / LOCK, self.path)
        with naming(self.path):
            self._lock.write((identity or "").encode())
            self._clean()
        done = self.blocks()
        whole = next(i for i in range(len(done) + 1) if i not in done) * size
        self.rows = whole if total is None else min(whole, total)
        self._waiting: list[NumPyArray] = []  # since the last block

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if kind is None:
                self._finish()
            elif not self.resumable:
                shutil.rmtree(self.partial)

    def _clean(self) -> None:
        """Remove what writers that were killed have left."""
        for name in filter(LEFT_OVER.fullmatch, os.listdir(self.partial)):
            (self.partial / name).unlink(missing_ok=True)

    def blocks(self) -> set[int]:
        """The numbers of the blocks that are there."""
        names = map(CHUNK.fullmatch, os.listdir(self.partial))
        return {int(name[1]) for name in names if name}

    @property
    def is_empty(self) -> bool:
        """Whether nothing was appended, not even no rows."""
        return not self._waiting and not (self.partial / METADATA).exists()

    def append(self, rows: NumPyArray) -> None:
        """Write rows after those before, which are of the same dtype and shape."""
        waiting = [*self._waiting, rows]
        kinds = {f"{part.dtype} of shape {part.shape[1:]}": None for part in waiting}
        if len(kinds) > 1:
            raise ShapeError(f"results are {', then '.join(kinds)}: give batches of one dtype and shape")
        self.rows += len(rows)
        together = np.concatenate(waiting)
        start = self.rows - len(together)
        while len(together) >= self.size:
            self._write(start, together[: self.size])
            start, together = start + self.size, together[self.size :]
        self._waiting = [together]

    def _write(self, start: int, rows: NumPyArray) -> None:
        total = self.rows if self._total is None else self._total
        write_block(self.partial, start // self.size, rows, size=self.size, total=total)

    def _finish(self) -> None:
        if self._waiting:
            (rest,) = self._waiting
            if self._total is None:  # what was described by the first block is known by now
                (self.partial / METADATA).unlink(missing_ok=True)
            self._write(self.rows - len(rest), rest)
        total = self.rows if self._total is None else self._total
        if missing := set(range(-(-total // self.size))) - self.blocks():
            raise FormatError(f"{self.partial} lacks {len(missing)} blocks: the same call computes them")
        self._clean()
        (self.partial / LOCK).unlink()
        settle(self.partial, self.path, overwrite=self._overwrite)
