"""A network measured on one backend."""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from operator import itemgetter
from time import perf_counter
from typing import Any, Literal

import numpy as np

from portable_nn import backends
from portable_nn._arrays import each
from portable_nn._typing import Array, FloatName, NumPyArray
from portable_nn.backends import Backend
from portable_nn.comparison.environment import thread_pools
from portable_nn.comparison.records import ColdStart, Measured, Speed
from portable_nn.comparison.scales import side_by_side
from portable_nn.comparison.timing import measure, peak_memory
from portable_nn.errors import BackendError
from portable_nn.labels import labels_of, without_labels
from portable_nn.network import Network
from portable_nn.streams import batches

__all__ = ["Finding", "Task", "find"]

WHOLE = 10_000  # images in the largest batch whose outputs are compared
PROBED = 21  # images whose outputs are compared between batch sizes: a multiple of 7


@dataclass(frozen=True)
class Task:
    """What to measure.

    Attributes
    ----------
    backend : str or Backend
        A spec, ``module:name`` of a caller's own backend, or itself where it need not travel.
    dtype : str
    batch_sizes : tuple of int
    warm_up : int
    iterations : int or None
    budget : float
        Seconds for each measurement of speed.
    compiled : bool
        Whether the network runs through the library's compiler.
    """

    backend: str | Backend
    dtype: FloatName
    batch_sizes: tuple[int, ...]
    warm_up: int
    iterations: int | None
    budget: float
    compiled: bool = False

    @property
    def steps(self) -> int:
        """How often `find` reports progress."""
        return 4 + 2 * len(self.batch_sizes)


@dataclass(frozen=True)
class Finding:
    """What came of a task: measurements with arrays in NumPy, or the reason for none.

    Attributes
    ----------
    state : {"measured", "failed", "unsupported", "not ready"}
    reason : str
    measured : Measured or None
    outputs, labels : array or None
        No labels where outputs mean none.
    changes : array or None
        How far outputs of the first samples change with the batch size.
    """

    state: Literal["measured", "failed", "unsupported", "not ready"]
    reason: str = ""
    measured: Measured | None = None
    outputs: NumPyArray | None = None
    labels: NumPyArray | None = None
    changes: NumPyArray | None = None


def find(net: Network, images: Any, task: Task, progress: Callable[[str], object]) -> Finding:
    """Measure a network of NumPy weights on one backend; whatever that raises is a finding too.

    Parameters
    ----------
    net : Network
    images : array of shape (N, ...), or dict of such
    task : Task
    progress : callable
        Called before each step with a phrase that says what is being done.

    Returns
    -------
    Finding
    """
    progress("importing it")
    start = perf_counter()
    try:
        target = backends.get(task.backend)
    except BackendError as error:
        return Finding("not ready", str(error))
    imported = perf_counter() - start
    if target.dtype_name(target.dtype(task.dtype)) != task.dtype:
        return Finding("unsupported", f"{target} has no {task.dtype}")
    try:
        return _measured(net, images, task, target, imported, progress)
    except Exception as error:  # a library raises what it likes
        return Finding("failed", f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")


def _measured(
    net: Network,
    images: Any,
    task: Task,
    target: Backend,
    imported: float,
    progress: Callable[[str], object],
) -> Finding:
    progress("placing the weights")
    start = perf_counter()
    bound = net.to(target).astype(task.dtype)
    placed = perf_counter() - start
    with target.full_float32():
        progress("in its first call")
        start = perf_counter()
        _finished(target, bound(_place(target, _some(images, 0, 1), task.dtype)))
        first_call = perf_counter() - start
        progress("comparing outputs")
        outputs, labels, stale = _outputs(bound, target, images, task.dtype)
        changes = _changes(bound, target, _some(images, 0, PROBED), outputs[:PROBED], task.dtype)
        speeds = tuple(
            _speed(bound, target, images, size, transfers, task, progress)
            for size in task.batch_sizes
            for transfers in (False, True)
        )
        precision = target.float32_precision() if task.dtype == "float32" else task.dtype
    measured = Measured(
        device=target.device_name() or "cpu",
        version=target.version() if target.package else "",
        precision=precision,
        stale=stale,
        batch_effect=float(changes.max()),
        cold_start=ColdStart(imported, placed, first_call),
        speeds=speeds,
        host_memory=peak_memory(),
        device_memory=target.peak_memory(),
        threads=thread_pools(),
    )
    return Finding("measured", measured=measured, outputs=outputs, labels=labels, changes=changes)


def _of_size(size: int, images: NumPyArray) -> NumPyArray:
    return images[:size] if size <= len(images) else np.resize(images, (size, *images.shape[1:]))


def _some(images: Any, start: int, stop: int) -> Any:
    return each(itemgetter(slice(start, stop)), images)


def _finished(target: Backend, y: Any) -> Any:
    """The outputs once they are computed."""
    each(target.synchronize, y)
    return y


def _place(target: Backend, images: Any, dtype: str) -> Any:
    """Images on the backend: integers as they are, for the network casts them, others in the dtype to test."""
    return each(partial(_placed, target, dtype), images)


def _placed(target: Backend, dtype: str, images: NumPyArray) -> Array:
    if np.isdtype(images.dtype, ("bool", "integral")):
        return target.place(images)
    host = images.astype("float64" if dtype == "float64" else "float32", copy=False)
    return target.entered(target.cast_to(target.dtype(dtype)))(target.place(host))


def _outputs(
    bound: Network, target: Backend, images: Any, dtype: str
) -> tuple[NumPyArray, NumPyArray | None, bool]:
    """All outputs, all labels, and whether outputs changed once the device was synchronised."""
    outputs, labels, stale = [], [], False
    for part in batches(images, WHOLE):
        x = _place(target, part, dtype)
        y = bound(x)
        early = side_by_side(each(lambda array: target.to_numpy(array).copy(), y))
        outputs.append(side_by_side(each(target.to_numpy, _finished(target, y))))
        stale |= not np.array_equal(early, outputs[-1], equal_nan=True)
        shape = outputs[-1].shape[-1:] if bound.output_shape is None else bound.output_shape
        if not without_labels(bound.layers, bound.meaning, shape):
            labels.append(_labels(bound, target, x))
    return np.concatenate(outputs), np.concatenate(labels) if labels else None, stale


def _labels(bound: Network, target: Backend, x: Array) -> NumPyArray:
    """The labels as the backend tells them, in NumPy where the device lacks argmax's integers."""
    has_labels = target.has_labels()
    found = _finished(target, bound.passes.find("untold", x)(x) if has_labels else bound.logits(x))
    host = target.to_numpy(found)
    return host if has_labels else np.asarray(labels_of(host, np, bound.meaning))


def _changes(bound: Network, target: Backend, images: Any, outputs: NumPyArray, dtype: str) -> NumPyArray:
    """How far outputs in batches of 1 and 7 are from those of all images at once."""
    differences = []
    for size in (1, 7):
        found = []
        for part in batches(images, size):
            y = _finished(target, bound(_place(target, part, dtype)))
            found.append(side_by_side(each(target.to_numpy, y)).astype(np.float64))
        with np.errstate(invalid="ignore"):  # infinity less infinity
            differences.append(np.abs(np.concatenate(found) - outputs))
    return np.asarray(np.nan_to_num(np.max(differences, axis=0)))


def _speed(
    bound: Network,
    target: Backend,
    images: Any,
    size: int,
    transfers: bool,
    task: Task,
    progress: Callable[[str], object],
) -> Speed:
    progress(f"timing batches of {size:,}{' with transfers' if transfers else ''}")
    batch = each(partial(_of_size, size), images)
    x = _place(target, batch, task.dtype)

    def compute() -> None:
        _finished(target, bound(x))

    def move_and_compute() -> None:
        each(target.to_numpy, bound(_place(target, batch, task.dtype)))

    timing = measure(
        move_and_compute if transfers else compute,
        warm_up=task.warm_up,
        iterations=task.iterations,
        budget=task.budget,
    )
    return Speed(size, transfers, *astuple(timing))
