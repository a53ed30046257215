"""Files as one array: known by their names and headers, opened where a piece of them is needed."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from glob import glob
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeGuard

import numpy as np

from portable_nn._arrays import as_array
from portable_nn._typing import NumPyArray
from portable_nn.errors import FormatError, ShapeError
from portable_nn.layers import axes_before
from portable_nn.readers.buffers import check_stays
from portable_nn.readers.csv import read_csv
from portable_nn.readers.idx import open_idx
from portable_nn.readers.npy import open_npy
from portable_nn.readers.npz import read_members
from portable_nn.readers.png import Images, pngs

__all__ = [
    "LABELS",
    "NAME_THEM",
    "SAMPLES",
    "Part",
    "Source",
    "is_path",
    "opened",
    "opened_parts",
    "reshaped",
    "samples_of",
    "source_of",
]

SAMPLES = "images", "x", "X"
"""The names of the array of samples in an .npz."""

NAME_THEM = f"name the samples {' or '.join(SAMPLES)}"

LABELS = "labels", "y"
"""The names of the array of their labels."""

METADATA = ".zarray", "zarr.json"
"""The files that tell a zarr array."""


class Choice(NamedTuple):
    """Which of the arrays of an .npz are samples, and which columns of a table the features, in order."""

    array: str | None = None
    inputs: tuple[str, ...] | None = None


DEFAULT = Choice()


@dataclass(frozen=True)
class Part:
    """A file, a folder of images or a zarr array: what is known of it without its values.

    Attributes
    ----------
    path : str
        Absolute.
    size, mtime : int
        Bytes, and nanoseconds: what they are when it is opened again says whether it is the same.
    shape : tuple of int
    dtype : str
    choice : Choice
        What is taken of a file that holds more.
    """

    path: str
    size: int
    mtime: int
    shape: tuple[int, ...]
    dtype: str
    choice: Choice = DEFAULT

    @classmethod
    def of(cls, path: str | os.PathLike[str], choice: Choice = DEFAULT) -> Self:
        """What there is at a path."""
        check_stays(path)
        array = _open(os.path.realpath(path), choice)
        if len(array.shape) < 1:
            raise ShapeError(f"{path} holds one number: data have samples along their first axis")
        return cls(os.path.realpath(path), *_stamp(path), tuple(array.shape), np.dtype(array.dtype).str, choice)

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

    def check(self) -> None:
        """Raise a `FormatError` if a file has changed."""
        for part in self.parts:
            part.open()

    def with_samples(self, shape: tuple[int, ...]) -> Self:
        """The same, each sample in another shape of as many values."""
        return replace(self, sample=shape)

    @property
    def paths(self) -> list[str]:
        """The files."""
        return [part.path for part in self.parts]

    @property
    def names(self) -> list[str] | None:
        """The name of each sample, where all have a file of their own."""
        parts = [part.open() for part in self.parts]
        if not all(isinstance(part, Images) for part in parts):
            return None
        return [name for part in parts for name in part.names]


def is_path(data: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether data are the name of a file."""
    return isinstance(data, (str, os.PathLike))


def opened(data: Any, inputs: tuple[str, ...] | None = None) -> Any:
    """Data themselves, or what a path names: the memory map of a file, or a `Source`.

    Parameters
    ----------
    data : array, path, or anything else
    inputs : tuple of str, optional
        The names of features, which those of columns must fit.

    Raises
    ------
    FormatError
        If a file is not of a kind that is read, or not what it should be.
    ShapeError
        If it holds a single number.
    """
    if not is_path(data):
        return data
    source = source_of(data, inputs=inputs)
    mapped = len(source.parts) == 1 and source.parts[0].open()
    return mapped if isinstance(mapped, np.memmap) else source


def opened_parts(data: Any, names: Collection[str]) -> Any:
    """Data for several inputs: a dict of what is there under each name, or batches that are dicts, as they are.

    Parameters
    ----------
    data : path, mapping of str to array or path, or anything else
        A path, a pattern or several paths are those of .npz files that hold arrays of these names.
    names : collection of str
        Of the inputs.

    Raises
    ------
    FormatError, ShapeError
        As `source_of`.
    """
    paths = [data] if is_path(data) else data
    if isinstance(paths, (list, tuple)) and paths and all(map(is_path, paths)):
        for path in paths:
            if Path(path).suffix.lower() != ".npz":
                raise FormatError(f"{path} holds one array: give a .npz that holds {', '.join(names)} by name")
        return {name: source_of(data, array=name) for name in names}
    if not isinstance(data, Mapping):
        return data
    found = {name: as_array(value) for name, value in data.items()}
    return {name: source_of(value) if is_path(value) else value for name, value in found.items()}


def source_of(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    array: str | None = None,
    inputs: tuple[str, ...] | None = None,
) -> Source:
    """The files that a path, a pattern such as ``images-*.npy``, or several of them name.

    Parameters
    ----------
    paths : path-like, or iterable of them
        Of .npy, .npz, .csv and IDX files, folders of PNG images and zarr arrays.
    array : str, optional
        The name of the samples in an .npz; by default one of `SAMPLES`, or the only array.
    inputs : tuple of str, optional
        The names of features, which those of columns must fit.

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
    choice = Choice(array, inputs)
    parts = tuple(Part.of(file, choice) for path in given for file in _files(os.fspath(path)))
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
    """Size and time of a file, those of its metadata for a zarr array, of its images for another folder."""
    path = os.fspath(path)
    inside = [file for name in METADATA if os.path.isfile(file := os.path.join(path, name))]
    try:
        if not inside and os.path.isdir(path):
            inside = [os.path.join(path, name) for name in pngs(path)]
        found = [os.stat(file) for file in inside or [path]]
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    return sum(one.st_size for one in found), max(one.st_mtime_ns for one in found)


@lru_cache(maxsize=16)
def _kept(part: Part) -> Any:
    return _open(part.path, part.choice)


def _open(path: str, choice: Choice) -> Any:
    suffix, name = Path(path).suffix.lower(), Path(path).name
    if choice.array is not None and suffix != ".npz":
        raise FormatError(
            f"{path} is no .npz, which alone has arrays by name: give one, or leave {choice.array!r} out"
        )
    if os.path.isdir(path):
        return Images(path) if pngs(path) else _open_zarr(path)
    match suffix:
        case ".npy":
            return open_npy(path)
        case ".npz":
            return samples_of(path, read_members(path), choice.array)
        case ".csv":
            return read_csv(path, choice.inputs).values
    if suffix not in ("", ".gz") and "idx" not in name:
        raise FormatError(
            f"{path} is of a kind that is not read: give a .npy, .npz, .csv or IDX file, a folder of PNG "
            "images, or a zarr array"
        )
    return open_idx(path)


def samples_of(path: str | os.PathLike[str], arrays: dict[str, Any], name: str | None = None) -> NumPyArray:
    """The samples among the arrays of an .npz: those of that name, or of `SAMPLES`, or all but the labels.

    Raises
    ------
    FormatError
        If there is none such, or they are no real numbers.
    """
    held = ", ".join(arrays) or "nothing"
    if name is None:
        fitting = [each for each in SAMPLES if each in arrays] or [each for each in arrays if each not in LABELS]
        if len(fitting) != 1:
            raise FormatError(f"{path} holds {held}: {NAME_THEM}")
        (name,) = fitting
    if name not in arrays:
        raise FormatError(f"{path} holds {held}, and no {name!r}")
    found = arrays[name]
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
        raise FormatError(f"{name!r} of {path} is no array of real numbers")
    return found


def _open_zarr(path: str) -> Any:
    try:
        import zarr
    except ModuleNotFoundError:
        raise FormatError(
            f"{path} is a folder without PNG images, and zarr arrays need zarr: pip install zarr"
        ) from None
    try:
        return zarr.open_array(path, mode="r")
    except Exception as error:  # whatever its codecs and metadata raise
        raise FormatError(f"{path} is a folder of neither PNG images nor a zarr array: {error}") from error


def reshaped(data: Any, shape: tuple[int, ...] | None) -> Any:
    """What a file holds, each sample in the shape that a network takes where it is plain how."""
    if shape is None or data.shape[1:] == shape or axes_before(tuple(data.shape), shape) != 1:
        return data
    return data.with_samples(shape) if isinstance(data, Source) else data.reshape(len(data), *shape)
