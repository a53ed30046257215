"""Feeding a network: data of any kind and length in, labels or outputs on the host out."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from itertools import chain
from math import prod
from threading import Lock, local
from typing import Any

import numpy as np

from portable_nn import backends
from portable_nn._typing import Array, NumPyArray
from portable_nn.activations import namespace
from portable_nn.backends import FLOATS, Backend
from portable_nn.errors import BackendError, InputError, ShapeError
from portable_nn.layers import Dense, Shape, check_input
from portable_nn.network import Network
from portable_nn.placing import Result, labels_of
from portable_nn.streams import NpyWriter, batches, opened

__all__ = ["predict"]

BATCH, CACHE = 1000, 2**22
"""Samples of a batch on NumPy, and the bytes that they may take before and after the widest layer.

Products of 1,000 rows run at full speed, and a few megabytes lie in a core's caches.
"""

HOST = 2**24
"""The bytes for other libraries on the CPU, whose calls cost more."""

DEVICE = 2**26
"""The same on a device: large enough to keep it busy, small enough for any."""


def predict(
    net: Network,
    data: Any,
    *,
    backend: str | Backend | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    outputs: bool = False,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> NumPyArray:
    """Label data of any kind and length, fast, in bounded memory.

    On NumPy, batches that fit a core's cache run on a pool of threads, with one thread each for the BLAS.
    Elsewhere integers travel as they are and are cast on the device, and a device that runs out of memory gets
    smaller batches.

    Parameters
    ----------
    net : Network
    data : array, path, or iterable of arrays
        With samples along the first axis: an array of any library, a memory map, a zarr array; the path of a
        .npy or IDX file, which is mapped into memory; or an iterable of batches.
    backend : str or Backend, optional
        Where to compute; by default where `data` are, or where the network is bound.
    batch_size : int, optional
        Samples per call; by default as many as are fast on the backend.
    workers : int, optional
        Threads on NumPy; by default one for each core, if threadpoolctl is there to hold the BLAS back.
    outputs : bool
        Give the outputs of the network instead of labels.
    out : path-like, optional
        A .npy file to write instead. It appears when it is whole. With a path for data, the same call goes on
        where a killed one stopped.
    progress : callable, optional
        Called with the number of samples done.

    Returns
    -------
    array of shape (N,), int64; or (N, n), floating
        NumPy; with `out`, a memory map of the file.

    Raises
    ------
    ShapeError
        If samples do not fit the network, or `batch_size` or `workers` are not positive.
    FormatError
        If a file is not what it should be.
    BackendError
        If the backend is not there, or threadpoolctl for several workers is not.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> images, labels = pnn.datasets.mnist("test")
    >>> pnn.predict(pnn.load("mnist"), images)[:5]
    array([7, 2, 1, 0, 4])
    """
    for name, value in (("batch_size", batch_size), ("workers", workers)):
        if value is not None and value < 1:
            raise ShapeError(f"{name} must be at least 1, got {value}")
    if workers is not None and workers > 1 and _blas() is None:
        raise BackendError("several workers need threadpoolctl, to hold the BLAS back: pip install threadpoolctl")
    is_path = isinstance(data, (str, os.PathLike))
    source, first = _first(_reshaped(opened(data), net) if is_path else data)
    _check_samples(first, net.input_shape)
    target = where(net, first, backend)
    net = net if net.backend == target else net.to_numpy()

    def results(start: int) -> Iterator[NumPyArray]:
        size = batch_size or _samples_of_a_batch(net, target)
        parts = batches(source, size, start)
        run = _on_numpy(net, outputs) if target.name == "numpy" else on_device(net, target, outputs)
        done = start
        kept = hasattr(source, "shape")
        for part in _on_threads(run, parts, workers, kept) if target.name == "numpy" else map(run, parts):
            done += len(part)
            if progress is not None:
                progress(done)
            yield part

    if out is None:
        return np.concatenate([*results(0)] or [_nothing(net, outputs)])
    with NpyWriter(out, _identity(net, data, target, outputs) if is_path else None) as writer:
        for part in results(writer.rows):
            writer.append(part)
        if writer.is_empty:
            writer.append(_nothing(net, outputs))
    return np.load(out, mmap_mode="r")  # type: ignore[no-any-return]


def where(net: Network, data: Any, backend: str | Backend | None = None) -> Backend:
    """The backend to compute on: the one asked for, or the network's, or that of the data."""
    if backend is not None:
        return backends.get(backend)
    if net.backend is not None:
        return net.backend
    try:
        return backends.of(data, namespace(data))
    except InputError:  # a zarr array, or no batch at all
        return backends.get("numpy")


def on_device(net: Network, target: Backend, outputs: bool) -> Callable[[Array], NumPyArray]:
    """The function from a batch, wherever it is, to results on the host, computed on the target.

    Results are fetched batch by batch: what is not fetched would fill the device.
    What does not fit the device is halved until it does, and so are the batches after it.
    """
    result: Result = "outputs" if outputs else "labels" if target.has_labels() else "logits"
    takes_numpy = net._compiled and target.takes_numpy()
    most: int | None = None

    def run(batch: Array) -> NumPyArray:
        x = nearest(batch, target)
        if takes_numpy and isinstance(x, np.ndarray):
            found = net._forward_from_numpy(result, x, target)(x)
        else:
            x = brought(x, target)
            found = net._forward(result, x)(x)
        host = target.to_numpy(found)
        if result == "outputs":
            return host
        return labels_of(host, np) if result == "logits" else host.astype(np.int64, copy=False)

    def run_what_fits(batch: Array) -> NumPyArray:
        nonlocal most
        size = batch.shape[0]
        if most is None or size <= most:
            try:
                return run(batch)
            except Exception as error:  # libraries have error classes of their own for it
                if size < 2 or not target.is_out_of_memory(error):
                    raise
            if most is None:
                warnings.warn(
                    f"{target} ran out of memory on {size} samples: going on with smaller batches",
                    RuntimeWarning,
                    stacklevel=3,
                )
            most = size // 2
        return np.concatenate([run_what_fits(part) for part in batches(batch, most)])

    return run_what_fits


def _on_numpy(net: Network, outputs: bool) -> Callable[[Array], NumPyArray]:
    """The function from a batch to results, integers being cast into a buffer that each thread keeps."""
    forward = net if outputs else net.predict
    here = backends.get("numpy")
    buffers = local()

    def run(batch: Array) -> NumPyArray:
        x = nearest(batch, here)
        if x.dtype.kind in "iub" and len(x):
            buffer = getattr(buffers, "array", None)
            if buffer is None or len(buffer) < len(x) or buffer.shape[1:] != x.shape[1:]:
                buffer = buffers.array = np.empty(x.shape, net.dtype)
            np.copyto(buffer[: len(x)], x)
            found = forward(buffer[: len(x)])
            return found.copy() if np.may_share_memory(found, buffer) else found
        return forward(x)

    return run


def _on_threads(
    run: Callable[[Array], NumPyArray], parts: Iterator[Array], workers: int | None, kept: bool
) -> Iterator[NumPyArray]:
    """Results in order, a few batches ahead of what is asked for.

    Batches that are not kept are copied: an iterator may write the next one over them.
    """
    workers = workers or (cores() if _blas() is not None else 1)
    if workers == 1:
        yield from map(run, parts)
        return
    here = backends.get("numpy")
    pending: deque[Future[NumPyArray]] = deque()
    with ONE_THREAD, ThreadPoolExecutor(workers) as pool:
        for part in parts:
            pending.append(pool.submit(run, part if kept else np.array(nearest(part, here))))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@cache
def _blas() -> Any:
    """What holds the BLAS to one thread, None where threadpoolctl is not installed."""
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return None
    return ThreadpoolController()


class _OneThread:
    """The BLAS held to one thread, which is a setting of the whole process, while anyone is inside."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limit = _blas().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limit.restore_original_limits()


ONE_THREAD = _OneThread()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def brought(batch: Array, target: Backend) -> Array:
    """The batch on the target, shared where that is possible."""
    found = nearest(batch, target)
    placing = isinstance(found, np.ndarray) and target.name != "numpy"
    return target.place(found, share=True) if placing else found


def nearest(batch: Array, target: Backend) -> Array:
    """The batch as the target's own array if it is one, else as NumPy's."""
    if isinstance(batch, np.ndarray):
        return batch
    try:
        home = backends.of(batch, namespace(batch))
    except InputError:
        return np.asarray(batch)
    return batch if home == target else home.to_numpy(batch)


def _first(source: Any) -> tuple[Any, Any]:
    """The source again, and its first array: itself, or the first batch of an iterable."""
    if hasattr(source, "shape") or not isinstance(source, Iterable):
        return source, source
    rest = iter(source)
    first = next(rest, None)
    return (source, None) if first is None else (chain([first], rest), first)


def _check_samples(first: Any, shape: Shape | None) -> None:
    """Raise a `ShapeError` about the caller's own array, before it is cut into batches."""
    if not hasattr(first, "shape"):
        return
    if len(first.shape) <= len(shape or ()):
        raise ShapeError(
            f"data have samples along their first axis, got shape {tuple(first.shape)}: for one sample call "
            "net.predict(x)"
        )
    if shape and tuple(first.shape[-len(shape) :]) != shape:
        check_input(first, shape)


def _reshaped(data: NumPyArray, net: Network) -> NumPyArray:
    """What a file holds, each sample in the shape that the network takes if it has as many values."""
    shape = net.input_shape
    if shape is None or prod(data.shape[1:]) != prod(shape):
        return data
    return data.reshape(len(data), *shape)


def _samples_of_a_batch(net: Network, target: Backend) -> int:
    """As many as are fast on the backend."""
    widths = [sum(layer.weight.shape) for layer in net.layers if isinstance(layer, Dense)]
    bytes_of_one = FLOATS[net.dtype] * max(widths, default=prod(net.input_shape or (1,)))
    if target.name == "numpy":
        return min(BATCH, max(1, CACHE // bytes_of_one))
    return max(1, (HOST if target.device_name().startswith("cpu") else DEVICE) // bytes_of_one)


def _nothing(net: Network, outputs: bool) -> NumPyArray:
    """Results of no samples."""
    if not outputs:
        return np.empty(0, dtype=np.int64)
    return np.empty((0, *(net.output_shape or ())), dtype=net.dtype)


def _identity(net: Network, path: str | os.PathLike[str], target: Backend, outputs: bool) -> str:
    """What the results for a file depend on, in words that are the same in the next process."""
    weights = sha256()
    for layer in net.to_numpy().layers:
        numbers = {name: value for name, value in vars(layer).items() if name not in layer.arrays}
        weights.update(repr((type(layer).__name__, numbers)).encode())
        for array in layer.arrays.values():
            weights.update(array.dtype.str.encode() + array.tobytes())
    file = os.stat(path)
    origin = os.path.realpath(path), file.st_size, file.st_mtime_ns
    return repr((weights.hexdigest(), origin, str(target), outputs, net._optimized))
