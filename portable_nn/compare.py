"""A network on many backends: whether the answers are the same, and where they come fastest."""

import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, TypeAlias

from portable_nn import backends as libraries
from portable_nn._typing import Array
from portable_nn.backends import FLOATS, Backend
from portable_nn.errors import BackendError, InputError, NetworkError, ShapeError
from portable_nn.network import Network

if TYPE_CHECKING:
    from portable_nn.comparison.records import Comparison

__all__ = ["SWEEP", "compare"]

BATCH_SIZES = (1, 100, 10_000)
SWEEP = tuple(2**n for n in range(17))
"""The batch sizes of a sweep, 1 to 65,536."""

Progress: TypeAlias = Callable[[str, str, int, int], object]


def compare(
    net: Network,
    images: Array,
    labels: Array | None = None,
    *,
    backends: Iterable[str | Backend] | None = None,
    dtypes: Sequence[str] = ("float32",),
    batch_sizes: Sequence[int] = BATCH_SIZES,
    atol: float | None = None,
    rtol: float = 0.0,
    warm_up: int = 3,
    iterations: int | None = None,
    budget: float = 0.3,
    time_limit: float = 120.0,
    in_process: bool = False,
    model: str = "network",
    progress: Progress | None = None,
) -> "Comparison":
    """Run a network on many backends, and compare answers and speed.

    The reference is NumPy in float64. Each backend is measured in a process of its own, with float32 products
    in full precision. A backend that fails, crashes or hangs gives a row that says so.

    Parameters
    ----------
    net : Network
        Optimized and compiled ones are measured as such, against the network itself.
    images : array of shape (N, ...)
        Of any library. A floating dtype is cast to each of `dtypes`; integers stay what they are.
    labels : array of shape (N,), integer, optional
        The true ones.
    backends : iterable of str or Backend, optional
        Specs such as ``"torch:cuda:0"``, ``"module:name"`` of a backend of your own, or the object itself; by
        default every library that is ready, on its default device.
    dtypes : sequence of str
        Of ``"float16"``, ``"bfloat16"``, ``"float32"`` and ``"float64"``: one row for each backend and dtype.
    batch_sizes : sequence of int
        To measure the speed at; one image alone is always measured. `portable_nn.compare.SWEEP` shows where
        the fastest backend changes.
    atol, rtol : float
        Outputs may differ by ``atol + rtol * |reference|``; `atol` is by default 1e-12 in float64, 1e-5 in
        float32, 1e-2 in float16 and 5e-2 in bfloat16.
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
    from portable_nn.comparison import Task, run  # only now: importing the package stays quick

    sizes = tuple(sorted({1, *batch_sizes}))
    dtypes = [dtypes] if isinstance(dtypes, str) else dtypes
    backends = [backends] if isinstance(backends, (str, Backend)) else backends
    if not dtypes or (backends is not None and not backends):
        raise BackendError("nothing to compare: give at least one backend and one dtype")
    _check(sizes, dtypes, warm_up, iterations, budget, time_limit)
    specs = list(libraries.BACKENDS) if backends is None else [_spec(backend, in_process) for backend in backends]
    how = net._optimized, net._compiled
    tasks = [Task(spec, dtype, sizes, warm_up, iterations, budget, *how) for spec in specs for dtype in dtypes]
    return run(
        tasks,
        net,
        images,
        labels,
        atol=atol,
        rtol=rtol,
        time_limit=None if in_process else time_limit,
        model=model,
        progress=progress,
        drop_missing=backends is None,
    )


def _spec(backend: str | Backend, in_process: bool) -> str | Backend:
    """What names a backend to the measuring process."""
    if isinstance(backend, str):
        library, colon, _ = backend.partition(":")
        if library not in libraries.BACKENDS and not (colon and _importable(library)):
            raise BackendError(
                f"unknown backend {backend!r}: choose one of {', '.join(libraries.BACKENDS)}, "
                "or name a backend of your own as module:name"
            )
        return backend
    if in_process:
        return backend
    if type(backend) is libraries.BACKENDS.get(backend.name):
        return str(backend)
    module = type(backend).__module__
    for name, value in vars(sys.modules[module]).items():
        if value is backend:
            return f"{module}:{name}"
    raise BackendError(
        f"{backend} has no name that another process can import: assign it at the top of {module}, "
        "or call compare with in_process=True"
    )


def _importable(module: str) -> bool:
    """Whether another process, which starts in this folder, can import a module; nothing is imported for it."""
    return PathFinder.find_spec(module.partition(".")[0], ["", *sys.path]) is not None


def _check(
    sizes: tuple[int, ...],
    dtypes: Sequence[str],
    warm_up: int,
    iterations: int | None,
    budget: float,
    time_limit: float,
) -> None:
    if sizes[0] < 1:
        raise ShapeError(f"a batch holds at least one sample, got batch size {sizes[0]}")
    if unknown := set(dtypes) - set(FLOATS):
        raise NetworkError(f"unknown dtype {min(unknown)!r}: choose one of {', '.join(FLOATS)}")
    if warm_up < 0 or (iterations is not None and iterations < 1) or budget <= 0 or time_limit <= 0:
        raise InputError(
            f"time at least one call in more than no time, got warm_up={warm_up}, iterations={iterations}, "
            f"budget={budget}, time_limit={time_limit}"
        )
