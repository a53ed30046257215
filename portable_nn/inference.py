"""Feeding a network: data of any kind and length in, labels or outputs on the host out."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import chain
from math import prod
from threading import Lock
from typing import Any

import numpy as np

from portable_nn import backends
from portable_nn._arrays import check_real, namespace
from portable_nn._options import check_count
from portable_nn._typing import Array, NumPyArray
from portable_nn.backends import FLOATS, Backend
from portable_nn.errors import BackendError, FormatError, InputError, ShapeError
from portable_nn.layers import Dense, Shape, check_input
from portable_nn.network import Network
from portable_nn.placing import labels_of
from portable_nn.streams import NpyWriter, array_of, batches, number_of_samples, opened
from portable_nn.writing import check_output

__all__ = ["cores", "infer", "placed", "runner", "target_of"]

HOST = 2**24
"""Bytes that a batch may take on the CPU before and after the widest layer: a call costs little beside them."""

DEVICE = 2**26
"""The same on a device: large enough to keep it busy, small enough for any."""

ROWS, SHARES = 256, 4
"""Rows at which products run at full speed, and batches for each thread, so that all end at about one time."""

VALUE = 20
"""Multiply-adds that take as long as the bias and the activation of one value."""

WORTH_THREADS = 2**26
"""Multiply-adds from which threads pay.

To start two and stop them takes about 0.25 ms, and they save half of the work: so they pay from 0.5 ms on. A core
takes 1 to 3 ms for so many multiply-adds.
"""


def infer(
    net: Network,
    data: Any,
    *,
    backend: str | Backend | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    outputs: bool = False,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Callable[[int], object] | None = None,
) -> NumPyArray:
    """Label data of any kind and length, fast, in bounded memory.

    On NumPy, batches run on a pool of threads where that pays, with one thread each for the BLAS. Elsewhere
    integers travel as they are and are cast on the device, and a device that runs out of memory gets smaller
    batches.

    Parameters
    ----------
    net : Network
    data : array, path, or iterable of arrays
        With samples along the first axis: an array of any library, a memory map, a zarr array; the path of a
        .npy or IDX file, which is mapped into memory; or an iterable of batches, which may fill one buffer
        again and again.
    backend : str or Backend, optional
        Where to compute; by default where `data` are, or where the network is bound.
    batch_size : int, optional
        Samples per call; by default as many as are fast on the backend.
    workers : int, optional
        Threads on NumPy; by default one for each core, where the work is worth starting them and threadpoolctl
        is there to hold the BLAS back.
    outputs : bool
        Give the outputs of the network instead of labels.
    out : path-like, optional
        A .npy file to write instead. It appears when it is whole. With a path for data, the same call goes on
        where a killed one stopped.
    overwrite : bool
        Let `out` take the place of an older file; of the data never.
    progress : callable, optional
        Called with the number of samples done.

    Returns
    -------
    array of shape (N,), int64; or (N, n), floating
        NumPy; with `out`, a memory map of the file.

    Raises
    ------
    InputError
        If data are no arrays of real numbers, or `batch_size` or `workers` no integers.
    ShapeError
        If samples do not fit the network, or `batch_size` or `workers` are not positive.
    FormatError
        If a file is not what it should be.
    OutputError
        If `out` is the data, or exists and is not to be overwritten.
    BackendError
        If the backend is not there, or threadpoolctl for several workers is not.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> images, labels = pnn.datasets.mnist("test")
    >>> pnn.infer(pnn.load("mnist"), images)[:5]
    array([7, 2, 1, 0, 4])
    """
    for name, value in (("batch_size", batch_size), ("workers", workers)):
        if value is not None:
            check_count(name, value)
    if workers is not None and workers > 1 and _blas() is None:
        raise BackendError("several workers need threadpoolctl, to hold the BLAS back: pip install threadpoolctl")
    is_path = isinstance(data, (str, os.PathLike))
    if out is not None:
        check_output(out, data if is_path else _file_of(data), overwrite=overwrite)
    source, first = _first(_reshaped(opened(data), net) if is_path else data)
    target = target_of(net, first, backend)
    _check_samples(first, net.input_shape)
    net = net if net.backend == target else net.to_numpy()
    run = runner(net, target, outputs)
    total = number_of_samples(source) if hasattr(source, "shape") else None

    def results(start: int) -> Iterator[NumPyArray]:
        todo = None if total is None else total - start
        threads = 1 if target.name != "numpy" else workers or _threads(net, todo)
        parts = batches(source, batch_size or _batch_size(net, target, todo, threads), start)
        alone = 0 if workers or total is not None else _paying(net)
        done = start
        for part in _mapped(run, parts, threads, alone, kept=total is not None):
            done += len(part)
            if progress is not None:
                progress(done)
            yield part

    if out is None:
        return np.concatenate([*results(0)] or [_nothing(net, outputs)])
    with NpyWriter(out, _identity(net, data, target, outputs) if is_path else None) as writer:
        if total is not None and writer.rows > max(0, total - 1):
            raise FormatError(f"{writer.partial} holds more than these data give: delete it, and begin anew")
        for part in results(writer.rows):
            writer.append(part)
        if writer.is_empty:
            writer.append(_nothing(net, outputs))
    return np.load(out, mmap_mode="r")  # type: ignore[no-any-return]


def _file_of(data: Any) -> str | os.PathLike[str] | None:
    """The file that an array lies in, or an array that it is a view of."""
    while isinstance(data, np.ndarray):
        if isinstance(data, np.memmap):
            return data.filename
        data = data.base
    return None


def target_of(net: Network, data: Any, backend: str | Backend | None = None) -> Backend:
    """The backend to compute on: the one asked for, or the network's, or that of the data."""
    array, xp = array_of(np.empty(0) if data is None else data)
    if backend is not None:
        return backends.get(backend)
    return net.backend or backends.of(array, xp)


def runner(net: Network, target: Backend, outputs: bool) -> Callable[[Array], NumPyArray]:
    """The function from a batch, wherever it is, to results on the host, computed on the target.

    Results are fetched batch by batch: what is not fetched would fill the device.
    What does not fit the device is halved until it does, and so are the batches after it.
    """
    has_labels = target.has_labels()
    most: int | None = None

    def run(batch: Array) -> NumPyArray:
        x = placed(batch, target)
        if outputs:
            return target.to_numpy(net(x))
        found = target.to_numpy(net.predict(x) if has_labels else net.logits(x))
        return (found if has_labels else labels_of(found, np, net.meaning)).astype(np.int64, copy=False)

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


def placed(batch: Array, target: Backend) -> Array:
    """The batch on the target, shared where that is possible."""
    if not isinstance(batch, np.ndarray):
        home = backends.of(batch, namespace(batch))
        if home == target:
            return batch
        batch = home.to_numpy(batch)
    if not batch.dtype.isnative:
        batch = batch.astype(batch.dtype.newbyteorder("="))
    if target.name == "numpy":
        return batch
    check_real(batch, np)
    return target.place(batch, share=True)


def _mapped(
    run: Callable[[Array], NumPyArray], parts: Iterator[Array], threads: int, alone: float, kept: bool
) -> Iterator[NumPyArray]:
    """Results in order, those of the first samples from this thread, though several are there for the others.

    Batches that are not kept may be written over by the next ones: their results share no memory with them.
    """
    for part in parts:
        if threads > 1 and alone <= 0:
            yield from _on_threads(run, chain([part], parts), threads, kept)
            return
        alone -= part.shape[0]
        yield run(part) if kept else np.array(run(part))


def _on_threads(
    run: Callable[[Array], NumPyArray], parts: Iterable[Array], threads: int, kept: bool
) -> Iterator[NumPyArray]:
    """Results in order, a few batches ahead of what is asked for; batches that are not kept are copied."""
    here = backends.get("numpy")
    pending: deque[Future[NumPyArray]] = deque()
    with ONE_THREAD, ThreadPoolExecutor(threads) as pool:
        for part in parts:
            pending.append(pool.submit(run, part if kept else np.array(placed(part, here))))
            if len(pending) > 2 * threads:
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
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._leave_parent
            )

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

    def _leave_parent(self) -> None:
        """Begin anew in the child of a fork, which has none of the threads that were inside."""
        if self._inside:
            self._inside = 0
            self._limit.restore_original_limits()
        self._lock.release()


ONE_THREAD = _OneThread()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first(source: Any) -> tuple[Any, Any]:
    """The source again, and its first array: itself, or the first batch of an iterable."""
    if hasattr(type(source), "shape") or hasattr(source, "shape"):  # nested tensors have one, and raise
        return source, source
    if not isinstance(source, Iterable):
        raise InputError(f"data must be an array, a path, or an iterable of batches, got {type(source).__name__}")
    rest = iter(source)
    first = next(rest, None)
    return (source, None) if first is None else (chain([first], rest), first)


def _check_samples(first: Any, shape: Shape | None) -> None:
    """Raise a `ShapeError` about the caller's own array, before it is cut into batches."""
    if not hasattr(first, "shape"):
        return
    if len(first.shape) <= len(shape or ()):
        raise ShapeError(
            f"data have samples along their first axis, got shape {tuple(first.shape)}: give one sample as "
            "x[None], or call net.predict(x)"
        )
    if shape and tuple(first.shape[-len(shape) :]) != shape:
        check_input(first, shape)


def _reshaped(data: NumPyArray, net: Network) -> NumPyArray:
    """What a file holds, each sample in the shape that the network takes if it has as many values."""
    shape = net.input_shape
    if shape is None or prod(data.shape[1:]) != prod(shape):
        return data
    return data.reshape(len(data), *shape)


def _threads(net: Network, samples: int | None) -> int:
    """As many as pay on NumPy; one batch is best left to the BLAS and threads of its own."""
    if samples is not None and samples <= max(ROWS, _paying(net)):
        return 1
    return cores() if _blas() is not None else 1


def _paying(net: Network) -> float:
    """The number of samples from which threads pay."""
    shapes = (layer.weight.shape for layer in net.layers if isinstance(layer, Dense))
    work = sum(n_in * n_out + VALUE * n_out for n_in, n_out in shapes)
    return WORTH_THREADS / work if work else float("inf")


def _batch_size(net: Network, target: Backend, samples: int | None, threads: int) -> int:
    """As many as are fast on the backend, and a share for each thread."""
    widths = [sum(layer.weight.shape) for layer in net.layers if isinstance(layer, Dense)]
    bytes_of_one = FLOATS[net.dtype] * max(widths, default=prod(net.input_shape or (1,)))
    on_host = target.name == "numpy" or target.device_name().startswith("cpu")
    most = max(1, (HOST if on_host else DEVICE) // bytes_of_one)
    if samples is None or threads == 1:
        return most
    return min(most, max(ROWS, -(-samples // (SHARES * threads))))


def _nothing(net: Network, outputs: bool) -> NumPyArray:
    """Results of no samples."""
    if not outputs:
        multilabel = net.task == "multilabel"
        return np.empty((0, *(net.output_shape or ())) if multilabel else 0, dtype=np.int64)
    return np.empty((0, *(net.output_shape or ())), dtype=net.dtype)


def _identity(net: Network, path: str | os.PathLike[str], target: Backend, outputs: bool) -> str:
    """What the results for a file depend on, in words that are the same in the next process."""
    file = os.stat(path)
    origin = os.path.realpath(path), file.st_size, file.st_mtime_ns
    return repr((net.to_numpy().passes.digest(), origin, str(target), outputs, net.compiled))
