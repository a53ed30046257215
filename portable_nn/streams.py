"""Data of any kind and length, a batch at a time."""

from collections.abc import Iterator
from typing import Any

from portable_nn._arrays import namespace
from portable_nn._typing import Array, Namespace
from portable_nn.errors import InputError, ShapeError

__all__ = ["array_of", "batches", "number_of_samples"]


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
