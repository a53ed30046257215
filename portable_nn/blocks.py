"""Results in zarr arrays, one chunk a block: many processes may write them, each block on its own.

A chunk is encoded by zarr and written as a file here: whole, and on disk before it has its name, so that what is
there can be relied on after a kill or a loss of power. No label has the fill value, -1; that of outputs is nan.
"""

import os
import re
from collections.abc import Iterable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from portable_nn._arrays import each, first_of
from portable_nn._typing import NumPyArray
from portable_nn.errors import BackendError, FormatError, OutputError, ShapeError
from portable_nn.parts import named
from portable_nn.results import LOCK, Writer, files_of
from portable_nn.running import joined
from portable_nn.writing import write

__all__ = ["ZarrWriter", "check_folder", "open_result", "write_block"]

METADATA = "zarr.json"
CHUNK = re.compile(r"c\.(\d+)(\.0)*")
LEFT_OVER = re.compile(r"\.[0-9a-f]{32}\.tmp")


def write_block(places: Mapping[str, Path], i: int, rows: Any, *, size: int, total: int) -> None:
    """Write one block of an array, or of each of several, and before the first one what describes the array.

    Parameters
    ----------
    places : mapping of str to Path
        The folders of the arrays by name, not yet whole; of one alone under no name.
    i : int
        The number of the block.
    rows : array, or dict of arrays
        `size` of them, or fewer in the last block.
    size, total : int
        Rows of a block, and of the array.
    """
    for name, array in named(rows).items():
        files = _encoded(array, total, size)
        metadata = places[name] / METADATA
        described = files.pop(METADATA)
        if not metadata.exists():
            write(metadata, described)
        for chunk in files.values():
            write(places[name] / (f"c.{i}" + ".0" * (array.ndim - 1)), chunk)


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


def open_result(path: str | os.PathLike[str], names: Iterable[str] = ()) -> Any:
    """The whole results for reading: a zarr array, or the memory map of a .npy; by name where they have one."""
    if names:
        return {name: open_result(os.path.join(path, file)) for name, file in files_of(path, names).items()}
    return np.load(path, mmap_mode="r") if os.path.isfile(path) else _zarr().open_array(path, mode="r")


def _zarr() -> Any:
    try:
        import zarr
    except ModuleNotFoundError:
        raise BackendError("results in a .zarr need zarr: pip install zarr") from None
    return zarr


class ZarrWriter(Writer):
    """Zarr arrays that grow block by block: in order by `append`, or in any order by `write_block`.

    Parameters
    ----------
    path, identity, names, overwrite
        As of `Writer`; several arrays are a group.
    size : int
        Rows of a block.
    total : int or None
        Rows of an array, None if they are to be counted.
    """

    size: int
    rows: int

    def __init__(
        self,
        path: str | os.PathLike[str],
        identity: str | None,
        *,
        names: Iterable[str] = (),
        size: int,
        total: int | None,
        overwrite: bool,
    ) -> None:
        _zarr()
        self.size, self._total = size, total
        self._waiting: list[Any] = []  # since the last block
        super().__init__(path, identity, names=names, in_folder=True, overwrite=overwrite)

    def _begin(self) -> None:
        for place in self.places.values():
            place.mkdir(exist_ok=True)
        self._clean()
        done = self.blocks()
        whole = next(i for i in range(len(done) + 1) if i not in done) * self.size
        self.rows = whole if self._total is None else min(whole, self._total)

    def _clean(self) -> None:
        """Remove what writers that were killed have left."""
        for place in self.places.values():
            for name in filter(LEFT_OVER.fullmatch, os.listdir(place)):
                (place / name).unlink(missing_ok=True)

    def blocks(self) -> set[int]:
        """The numbers of the blocks that are there, of all arrays."""
        names = (map(CHUNK.fullmatch, os.listdir(place)) for place in self.places.values())
        return set.intersection(*({int(name[1]) for name in found if name} for found in names))

    @property
    def is_empty(self) -> bool:
        """As of `Writer`."""
        return not self._waiting and not all((place / METADATA).exists() for place in self.places.values())

    def append(self, rows: Any) -> None:
        """As of `Writer`."""
        waiting = [*self._waiting, rows]
        for name in named(rows):
            parts = [named(one)[name] for one in waiting]
            kinds = {f"{part.dtype} of shape {part.shape[1:]}": None for part in parts}
            if len(kinds) > 1:
                raise ShapeError(f"results are {', then '.join(kinds)}: give batches of one dtype and shape")
        self.rows += len(first_of(rows))
        together = joined(waiting)
        start = self.rows - len(first_of(together))
        while len(first_of(together)) >= self.size:
            self._write(start, each(itemgetter(slice(self.size)), together))
            start, together = start + self.size, each(itemgetter(slice(self.size, None)), together)
        self._waiting = [together]

    def _write(self, start: int, rows: Any) -> None:
        total = self.rows if self._total is None else self._total
        write_block(self.places, start // self.size, rows, size=self.size, total=total)

    def _finish(self) -> None:
        if self._waiting:
            (rest,) = self._waiting
            if self._total is None:  # what was described by the first block is known by now
                for place in self.places.values():
                    (place / METADATA).unlink(missing_ok=True)
            self._write(self.rows - len(first_of(rest)), rest)
        total = self.rows if self._total is None else self._total
        if missing := set(range(-(-total // self.size))) - self.blocks():
            raise FormatError(f"{self.partial} lacks {len(missing)} blocks: the same call computes them")
        self._clean()
        if self.partial not in self.places.values():
            _write_group(self.partial)


def _write_group(folder: Path) -> None:
    zarr = _zarr()
    files: dict[str, Any] = {}
    zarr.create_group(zarr.storage.MemoryStore(files), zarr_format=3)
    write(folder / METADATA, files[METADATA].to_bytes())
