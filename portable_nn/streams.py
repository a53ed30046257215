"""Data of any kind and length, a batch at a time."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from portable_nn._arrays import each, first_of, has_unknown, namespace
from portable_nn._typing import Array, Namespace
from portable_nn.errors import InputError, ShapeError

__all__ = ["array_of", "batches", "is_whole", "number_of_samples"]


def batches(data: Any, size: int, start: int = 0) -> Iterator[Array]:
    """Successive batches of at most `size` samples, leaving out the first `start`.

    Parameters
    ----------
    data : array, dict of arrays, or iterable of such
        With samples along the first axis. Anything with a shape that can be sliced is an array: NumPy's and
        other libraries', memory maps, zarr's. An iterable gives batches, which are cut where they are longer.
    size, start : int
        Samples.
    """
    if is_whole(data):
        n = number_of_samples(data)
        for i in range(start, n or start + 1, size):  # no samples are one empty batch
            yield each(itemgetter((slice(i, min(i + size, n)), ...)), data)
        return
    for batch in data:
        array_of(batch)
        skipped = min(start, number_of_samples(batch))
        start -= skipped
        if skipped < number_of_samples(batch):
            yield from batches(batch, size, skipped)


def is_whole(data: Any) -> bool:
    """Whether data are an array, or a dict of them, rather than batches of such."""
    return isinstance(data, dict) or hasattr(data, "shape")


def array_of(data: Any) -> tuple[Array, Namespace]:
    """Data if they are an array, or a slice of them if that is one, as for zarr and h5py; and its namespace.

    Of a dict of them, the first one.

    Raises
    ------
    InputError
        If neither is: what a network refuses is refused in the same words wherever it comes.
    """
    data = first_of(data)
    try:
        return data, namespace(data)
    except InputError as refusal:
        try:
            part = data[:1]
            return part, namespace(part)
        except Exception:  # a foreign class raises what it likes
            raise refusal from None


def number_of_samples(data: Any) -> int:
    """The length of the first axis, which all arrays of a dict have alike.

    Raises
    ------
    ShapeError
        If there is none, or Dask does not know it, or lengths differ.
    """
    if isinstance(data, dict):
        lengths = {name: number_of_samples(array) for name, array in data.items()}
        if len({*lengths.values()}) > 1:
            came = ", ".join(f"{n} of {name}" for name, n in lengths.items())
            raise ShapeError(f"inputs have as many samples as each other, got {came}")
        return first_of(lengths)  # type: ignore[no-any-return]
    shape = getattr(data, "shape", None)
    if not shape:
        came = "one number" if shape == () else type(data).__name__
        raise ShapeError(f"data, and batches of them, are arrays with samples along their first axis, got {came}")
    if has_unknown(shape[:1]):
        raise ShapeError("these Dask arrays have chunks of unknown size: call x.compute_chunk_sizes() first")
    return shape[0]  # type: ignore[no-any-return]
