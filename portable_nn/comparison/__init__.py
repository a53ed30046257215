"""A network on many backends: whether the answers are the same, and where they come fastest."""

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np

from portable_nn import backends as libraries
from portable_nn._arrays import as_array, as_labels, check_dtype, check_real, dtype_named, each, namespace
from portable_nn._options import check_count, check_integer, check_list, check_number
from portable_nn._typing import Array, Device, FloatLike, NumPyArray, Samples
from portable_nn.backends import Backend
from portable_nn.comparison.environment import environment
from portable_nn.comparison.isolation import find_apart
from portable_nn.comparison.measuring import Finding, Task, find
from portable_nn.comparison.naming import spec_for
from portable_nn.comparison.records import Comparison
from portable_nn.comparison.verdicts import reference, verdict
from portable_nn.errors import BackendError, InputError
from portable_nn.formats import save
from portable_nn.network import Network, check_network
from portable_nn.parts import named

__all__ = ["BATCH_SIZES", "SWEEP", "Comparison", "compare"]

BATCH_SIZES = (1, 100, 10_000)
SWEEP = tuple(2**n for n in range(17))
"""The batch sizes of a sweep, 1 to 65,536."""

Progress: TypeAlias = Callable[[str, str, int, int], object]


def compare(
    net: Network,
    images: Samples,
    labels: Samples | None = None,
    *,
    backends: Iterable[str | Backend | Device] | None = None,
    dtypes: FloatLike | Iterable[FloatLike] = ("float32",),
    batch_sizes: Sequence[int] = BATCH_SIZES,
    atol: float | None = None,
    rtol: float | None = None,
    warm_up: int = 3,
    iterations: int | None = None,
    budget: float = 0.3,
    time_limit: float = 120.0,
    in_process: bool = False,
    model: str = "network",
    progress: Progress | None = None,
) -> Comparison:
    """Run a network on many backends, and compare answers and speed.

    The reference is the plain loop over the layers, in NumPy float64. Each backend is measured in a process of
    its own, with float32 products in full precision. A backend that fails, crashes or hangs gives a row that
    says so.

    Parameters
    ----------
    net : Network
        A compiled one is measured as such.
    images : array of shape (N, ...), or dict of such
        Of any library; samples may lie along more leading axes than one. A floating dtype is cast to each of
        `dtypes`; integers stay what they are.
    labels : array of shape (N,), integer or str, optional
        The true ones, one for each sample: the classes of the network where it names them, else the indices of
        its outputs. 0 or 1 for each output, of shape (N, n), where it is multilabel.
    backends : iterable of str, Backend, or device of PyTorch, JAX or CuPy, optional
        Specs such as ``"torch:cuda:0"``, ``"module:name"`` of a backend of your own, or the object itself; by
        default every library that is ready, on its default device.
    dtypes : sequence of str
        Of ``"float16"``, ``"bfloat16"``, ``"float32"`` and ``"float64"``: one row for each backend and dtype.
    batch_sizes : sequence of int
        To measure the speed at; one sample alone is always measured. `portable_nn.comparison.SWEEP` shows where
        the fastest backend changes.
    atol, rtol : float
        Outputs may differ by ``atol + rtol * scale``, where the scale is the error that rounding makes of
        an output, followed through the layers, in units of rounding: 1000 where thousands cancel. `rtol` is by
        default 256 units in the last place, 16 in float16 and bfloat16; `atol` is 0, and where a last activation
        bounds the outputs, as it does probabilities, 1e-12 in float64, 1e-5 in float32, 1e-2 in float16 and 5e-2
        in bfloat16; an `atol` that is given for such is all that is allowed, unless `rtol` is given too.
    warm_up, iterations : int
        Calls before and while the clock runs, for each batch size; by default as many as `budget` allows.
    budget : float
        Seconds for each measurement of speed.
    time_limit : float
        Seconds after which a measuring process is killed.
    in_process : bool
        Measure in this process, for notebooks: nothing guards against a crash or a hang then, and memory is
        that of all together.
    model : str
        What to call the network.
    progress : callable, optional
        Called with row, step, steps done and steps in all.

    Returns
    -------
    Comparison

    Raises
    ------
    ShapeError, InputError, BackendError, NetworkError
        If the data, backends, dtypes or numbers are not what they should be.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> images, labels = pnn.datasets.mnist("test")
    >>> found = pnn.compare(pnn.load("mnist"), images[:100], labels[:100], backends=["numpy"], batch_sizes=[10])
    >>> found.rows[0].state, found.rows[0].labels.differ
    ('agrees', 0)
    """
    check_network(net)
    if isinstance(dtypes, str) or (not isinstance(dtypes, Iterable) and dtype_named(dtypes)):
        dtypes = [dtypes]
    backends = [backends] if isinstance(backends, (str, Backend)) else backends
    for name, several in (("backends", backends), ("dtypes", dtypes), ("batch_sizes", batch_sizes)):
        if several is not None or name != "backends":
            check_list(name, several)
    if not dtypes or (backends is not None and not backends):
        raise BackendError("nothing to compare: give at least one backend and one dtype")
    sizes = tuple(sorted({1, *(check_count(f"batch_sizes[{i}]", size) for i, size in enumerate(batch_sizes))}))
    names = [check_dtype(dtype) for dtype in dtypes]  # type: ignore[union-attr]
    _check_timing(warm_up, iterations, budget, time_limit)
    for name, tolerance in (("atol", atol), ("rtol", rtol)):
        if tolerance is not None:
            check_number(name, tolerance)
    specs = libraries.names() if backends is None else [spec_for(each, in_process) for each in backends]
    tasks = [
        Task(spec, dtype, sizes, warm_up, iterations, budget, net.compiled) for spec in specs for dtype in names
    ]
    here = environment()
    given = each(
        _numbers, each(as_array, images) if isinstance(images, dict) else as_array(images, net.meaning.inputs)
    )
    net, x = net.to_numpy(), net.passes.taken(given)
    wanted = reference(net, x, None if labels is None else _to_numpy(as_labels(labels)))
    of_places = net.described(classes=None, task=net.task)  # whose labels are places among the classes
    findings = _findings(tasks, of_places, x, None if in_process else time_limit, progress)
    rows = tuple(
        verdict(task, finding, wanted, atol, rtol)
        for task, finding in zip(tasks, findings, strict=True)
        if not (backends is None and finding.state == "not ready")
    )
    classes = None if net.task == "multilabel" else net.classes
    return Comparison(model, repr(net), classes, len(wanted.outputs), sizes, rows, here)


def _check_timing(warm_up: int, iterations: int | None, budget: float, time_limit: float) -> None:
    check_integer("warm_up", warm_up)
    if iterations is not None:
        check_integer("iterations", iterations)
    check_number("budget", budget)
    check_number("time_limit", time_limit)
    if warm_up < 0 or (iterations is not None and iterations < 1) or not (budget > 0 and time_limit > 0):
        raise InputError(
            f"time at least one call in more than no time, got warm_up={warm_up}, iterations={iterations}, "
            f"budget={budget}, time_limit={time_limit}"
        )


def _findings(
    tasks: Sequence[Task],
    net: Network,
    images: Any,
    time_limit: float | None,
    progress: Progress | None,
) -> list[Finding]:
    if time_limit is None:
        return [find(net, images, task, _steps(task, progress)) for task in tasks]
    with TemporaryDirectory(prefix="portable-nn-") as name:
        folder = Path(name)
        save(net, folder / "network.safetensors")
        for i, name in enumerate(net.passes.inputs if isinstance(images, dict) else [""]):
            np.save(folder / f"images{i}.npy", named(images)[name])
        return [find_apart(folder, task, time_limit, _steps(task, progress)) for task in tasks]


def _steps(task: Task, progress: Progress | None) -> Callable[[str], object]:
    """A function to call before each step of a task."""
    done = count()

    def report(step: str) -> None:
        if progress is not None:
            progress(f"{task.backend} {task.dtype}", step, next(done), task.steps)

    return report


def _to_numpy(array: Array) -> NumPyArray:
    return libraries.of(array, namespace(array)).to_numpy(array)


def _numbers(array: Array) -> NumPyArray:
    """What a network takes, in NumPy, which may lack the dtype of what it does not."""
    check_real(array, namespace(array))
    return _to_numpy(array)
