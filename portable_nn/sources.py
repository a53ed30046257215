"""Files as one array: known by their names and headers, opened where a piece of them is needed."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from glob import glob
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.errors import FormatError, ShapeError
from portable_nn.layers import axes_before
from portable_nn.readers.idx import open_idx
from portable_nn.readers.npy import open_npy

__all__ = ["Part", "Source", "is_path", "opened", "reshaped", "source_of"]


@dataclass(frozen=True)
class Part:
    """A file or a zarr array: what is known of it without its values.

    Attributes
    ----------
    path : str
        Absolute.
    size, mtime : int
        Bytes, and nanoseconds: what they are when it is opened again says whether it is the same.
    shape : tuple of int
    dtype : str
    """

    path: str
    size: int
    mtime: int
    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Self:
        """What there is at a path."""
        array = _open(os.path.realpath(path))
        if len(array.shape) < 1:
            raise ShapeError(f"{path} holds one number: data have samples along their first axis")
        return cls(os.path.realpath(path), *_stamp(path), tuple(array.shape), np.dtype(array.dtype).str)

    def open(self) -> Any:
        """The array, a `FormatError` if it has changed."""
        if _stamp(self.path) != (self.size, self.mtime):
            raise FormatError(f"{self.path} has changed since the work began: begin anew")
        return _kept(self)


@dataclass(frozen=True)
class Source:
    """Files one after the other, as one array of samples along its first axis.

    It travels as names and shapes; a slice of it is read where it is taken.

    Attributes
    ----------
    parts : tuple of Part
    sample : tuple of int
        The shape that each sample is given.
    """

    parts: tuple[Part, ...]
    sample: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all parts together."""
        return (len(self), *self.sample)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return 1 + len(self.sample)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of all parts."""
        return np.dtype(self.parts[0].dtype)

    def __len__(self) -> int:
        return sum(part.shape[0] for part in self.parts)

    def __getitem__(self, key: Any) -> NumPyArray:
        rows, *others = key if isinstance(key, tuple) else (key,)
        if others not in ([], [Ellipsis]):
            raise TypeError("only samples can be taken from files")
        start, stop, _ = rows.indices(len(self))
        pieces = []
        for part, end in zip(self.parts, accumulate(part.shape[0] for part in self.parts), strict=True):
            first = end - part.shape[0]
            if first < stop and start < end:
                pieces.append(part.open()[max(start, first) - first : min(stop, end) - first])
        if not pieces:
            pieces = [np.empty((0, *self.parts[0].shape[1:]), self.dtype)]
        found = np.asarray(pieces[0]) if len(pieces) == 1 else np.concatenate(pieces)
        return found.reshape(len(found), *self.sample)

    def with_samples(self, shape: tuple[int, ...]) -> Self:
        """The same, each sample in another shape of as many values."""
        return replace(self, sample=shape)

    @property
    def paths(self) -> list[str]:
        """The files."""
        return [part.path for part in self.parts]


def is_path(data: object) -> bool:
    """Whether data are the name of a file."""
    return isinstance(data, (str, os.PathLike))


def opened(data: Any) -> Any:
    """Data themselves, or what a path names: the memory map of a file, or several files as one.

    Raises
    ------
    FormatError
        If a file is neither a .npy of real numbers nor an IDX file nor a zarr array.
    ShapeError
        If it holds a single number.
    """
    if not is_path(data):
        return data
    path = os.fspath(data)
    if os.path.isdir(path) or _is_pattern(path):
        return source_of(path)
    found = _open(path)
    if found.ndim < 1:
        raise ShapeError(f"{data} holds one number: data have samples along their first axis")
    return found


def source_of(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Source:
    """The files that a path, a pattern such as ``images-*.npy``, or several of them name.

    Raises
    ------
    FormatError
        If there is none, or one is not what it should be.
    ShapeError
        If they differ in dtype or in the shape of a sample.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.sources import source_of
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(3):
    ...         np.save(pathlib.Path(folder, f"{i}.npy"), np.full((2, 4), i))
    ...     source = source_of(f"{folder}/*.npy")
    ...     source.shape, source[1:4][:, 0].tolist()
    ((6, 4), [0, 1, 1])
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    parts = tuple(Part.of(file) for path in given for file in _files(os.fspath(path)))
    if not parts:
        raise FormatError("there is no file to read: give a path, or a pattern that fits one")
    first = parts[0]
    for part in parts:
        if (part.shape[1:], part.dtype) != (first.shape[1:], first.dtype):
            raise ShapeError(
                f"{part.path} has samples of shape {part.shape[1:]} and dtype {part.dtype}, {first.path} of "
                f"{first.shape[1:]} and {first.dtype}: files that are read as one have samples of one kind"
            )
    return Source(parts, first.shape[1:])


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in "*?[") and not os.path.exists(path)


def _files(path: str) -> list[str]:
    if not _is_pattern(path):
        return [path]
    found = sorted(glob(path))
    if not found:
        raise FormatError(f"no file fits {path}: mend the pattern")
    return found


def _stamp(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Size and time of a file, those of its metadata for a zarr array."""
    inside = next(
        (file for name in (".zarray", "zarr.json") if os.path.isfile(file := os.path.join(path, name))), path
    )
    try:
        found = os.stat(inside)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=16)
def _kept(part: Part) -> Any:
    return _open(part.path)


def _open(path: str) -> Any:
    if os.path.isdir(path):
        return _open_zarr(path)
    suffix, name = Path(path).suffix.lower(), Path(path).name
    if suffix not in (".npy", "", ".gz") and "idx" not in name:
        raise FormatError(f"{path} is of a kind that is not read: give a .npy or IDX file, or a zarr array")
    return open_npy(path) if suffix == ".npy" else open_idx(path)


def _open_zarr(path: str) -> Any:
    try:
        import zarr
    except ModuleNotFoundError:
        raise FormatError(f"{path} is a folder, and zarr arrays need zarr: pip install zarr") from None
    try:
        return zarr.open_array(path, mode="r")
    except Exception as error:  # whatever its codecs and metadata raise
        raise FormatError(f"{path} is a folder without a zarr array that can be read: {error}") from error


def reshaped(data: Any, shape: tuple[int, ...] | None) -> Any:
    """What a file holds, each sample in the shape that a network takes where it is plain how."""
    if shape is None or data.shape[1:] == shape or axes_before(tuple(data.shape), shape) != 1:
        return data
    return data.with_samples(shape) if isinstance(data, Source) else data.reshape(len(data), *shape)
