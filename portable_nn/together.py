"""Results by name that appear together: a folder of .npy files, or a zarr group of arrays.

Each grows as one alone does, inside a folder that takes its name once all are whole. A run that goes on begins
where the shortest of them ends; the others hold the same rows already.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.blocks import open_result, write_group
from portable_nn.errors import InputError
from portable_nn.results import locked_partial, partial_path
from portable_nn.writing import naming, settle

__all__ = ["Together", "files_of", "open_together"]

LOCK = ".lock"

OF_ONE = ".npy", ".npz", ".csv"
"""What a file of one array, and no folder, is called."""


def files_of(path: str | os.PathLike[str], names: Iterable[str]) -> dict[str, str]:
    """What each result is called in a folder or group: its name, without signs that a path gives a meaning to.

    Raises
    ------
    InputError
        If the path is that of a file for one array.

    Examples
    --------
    >>> from portable_nn.together import files_of
    >>> files_of("results", ["mean", "log/variance:0"])
    {'mean': 'mean.npy', 'log/variance:0': 'log_variance_0.npy'}
    >>> files_of("results.zarr", ["mean"])
    {'mean': 'mean'}
    """
    suffix = Path(path).suffix
    if suffix in OF_ONE:
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


def open_together(path: str | os.PathLike[str], names: Iterable[str]) -> dict[str, Any]:
    """The whole results by name, for reading."""
    files = {name: os.path.join(path, file) for name, file in files_of(path, names).items()}
    if Path(path).suffix == ".zarr":
        return {name: open_result(file) for name, file in files.items()}
    return {name: np.load(file, mmap_mode="r") for name, file in files.items()}


class Together:
    """Results by name that grow row by row, and appear together.

    Parameters
    ----------
    path : str or path-like
        Of the folder; a name that ends in ``.zarr`` is that of a zarr group.
    identity : str or None
        What the rows depend on, None if it cannot be told.
    names : iterable of str
        Of the results.
    one : callable
        ``one(path, identity, overwrite=True)`` makes the writer of one result.
    overwrite : bool
        Whether the folder may take the place of an older one.

    Attributes
    ----------
    partial : Path
        The folder until it is whole.
    rows : int
        Those that all have.
    """

    path: Path
    resumable: bool
    partial: Path
    rows: int

    def __init__(
        self,
        path: str | os.PathLike[str],
        identity: str | None,
        names: Iterable[str],
        one: Callable[..., Any],
        *,
        overwrite: bool,
    ) -> None:
        files = files_of(path, names)
        self.path, self._overwrite = Path(path), overwrite
        self.resumable = identity is not None
        self.partial = partial_path(self.path, identity)
        with naming(self.path):
            self.partial.mkdir(exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(locked_partial(self.partial / LOCK, self.path))
            self._writers = {
                name: stack.enter_context(one(self.partial / file, identity or "", overwrite=True))
                for name, file in files.items()
            }
            self._open = stack.pop_all()
        self.rows = min(writer.rows for writer in self._writers.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
        if kind is None:
            if self.path.suffix == ".zarr":
                write_group(self.partial)
            (self.partial / LOCK).unlink()
            settle(self.partial, self.path, overwrite=self._overwrite)
        elif not self.resumable:
            shutil.rmtree(self.partial)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was appended, not even no rows."""
        return any(writer.is_empty for writer in self._writers.values())

    def append(self, rows: dict[str, NumPyArray]) -> None:
        """Write rows after those before, of each name as many; one that is ahead has them already."""
        for name, writer in self._writers.items():
            if writer.rows == self.rows:
                writer.append(rows[name])
        self.rows += len(next(iter(rows.values())))
