"""Array libraries and their devices: which are here, and what each needs that the standard does not say.

A new library is one file here and its class in `BACKENDS`. A conforming library without a file works too,
through the defaults of `Backend`; so do backends that are made elsewhere, by an entry point or ``module:name``.
"""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from typing import Any

import array_api_compat

from portable_nn._arrays import FLOATS, dtype_named
from portable_nn._options import unknown
from portable_nn._typing import Array, Device, Namespace
from portable_nn.backends._base import Backend, Forward, forward_pass
from portable_nn.backends._cupy import CuPy
from portable_nn.backends._dask import Dask
from portable_nn.backends._dpnp import Dpnp
from portable_nn.backends._jax import JAX
from portable_nn.backends._numpy import NumPy
from portable_nn.backends._others import announced, load, own
from portable_nn.backends._strict import ArrayAPIStrict
from portable_nn.backends._torch import Torch
from portable_nn.backends._trying import Status, first_line, import_problem, is_missing, probe, status_of
from portable_nn.errors import BackendError

__all__ = [
    "BACKENDS",
    "FLOATS",
    "Backend",
    "Forward",
    "Status",
    "device_of",
    "forward_pass",
    "get",
    "is_own",
    "named",
    "names",
    "of",
    "ready",
    "spec_of",
    "status",
]

BACKENDS: dict[str, type[Backend]] = {
    backend.name: backend for backend in (NumPy, Torch, CuPy, JAX, Dask, Dpnp, ArrayAPIStrict)
}

_BY_NAMESPACE = {backend.namespace: backend for backend in BACKENDS.values()}


def names() -> list[str]:
    """The libraries that a spec may name: those of this package, and those that installed packages announce.

    Returns
    -------
    list of str

    Examples
    --------
    >>> import portable_nn as pnn
    >>> pnn.backends.names()[:3]
    ['numpy', 'torch', 'cupy']
    """
    return list(dict.fromkeys([*BACKENDS, *(entry.name for entry in announced())]))


def is_own(spec: str) -> bool:
    """Whether a spec is ``module:name`` of a backend of one's own.

    Parameters
    ----------
    spec : str

    Returns
    -------
    bool

    Examples
    --------
    >>> import portable_nn as pnn
    >>> pnn.backends.is_own("mine:BACKEND"), pnn.backends.is_own("torch:cpu")
    (True, False)
    """
    library, colon, _ = spec.partition(":")
    return bool(colon) and library not in BACKENDS and library not in names()


def device_of(x: Array) -> Device:
    """Where `x` is: its device, the backend of its chunks for Dask, None under tracing.

    Parameters
    ----------
    x : array
        Of any library.

    Returns
    -------
    object
        The library's own device object; it can be hashed.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> pnn.backends.device_of(np.zeros(3))
    'cpu'
    """
    device = getattr(x, "device", None)
    if device is None and array_api_compat.is_dask_array(x):
        return Dask.backend_of_chunks(x)
    return device


def of(x: Array, xp: Namespace) -> Backend:
    """The backend of an array whose namespace is `xp`, recognised without importing any library.

    Parameters
    ----------
    x : array
    xp : namespace
        Its array API namespace.

    Returns
    -------
    Backend
        With the defaults of the standard where the library has no file here.

    Examples
    --------
    >>> import numpy as np
    >>> from array_api_compat import array_namespace
    >>> import portable_nn as pnn
    >>> x = np.zeros(3)
    >>> str(pnn.backends.of(x, array_namespace(x)))
    'numpy'
    """
    if xp.__name__ not in _BY_NAMESPACE:
        found = (library for entry in announced() if isinstance(library := load(entry), type))
        _BY_NAMESPACE.update({library.namespace: library for library in found} | _BY_NAMESPACE)
    return _BY_NAMESPACE.get(xp.__name__, Backend)(xp, device_of(x))


def get(spec: str | Backend | Device) -> Backend:
    """The backend of a spec, once a small matrix product has run on its device.

    Parameters
    ----------
    spec : str, Backend, or device of PyTorch, JAX or CuPy
        A library and, after a colon, its device: ``"torch"``, ``"torch:cuda:1"``, ``"cupy:0"``,
        ``"array_api_strict:device1"``. Or ``"module:name"`` of a backend of your own, ``"module:Class:device"``
        of a subclass of `Backend`. A `Backend` is returned as it is, and so is one of your own.

    Returns
    -------
    Backend

    Raises
    ------
    BackendError
        If the library is unknown, not installed, cannot be imported, or has no such device.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> str(pnn.backends.get("numpy"))
    'numpy'
    """
    spec = named(spec)
    if isinstance(spec, Backend):
        return spec
    library, device = _named(spec)
    if isinstance(library, Backend):
        return library
    if problem := import_problem(library):  # type: ignore[arg-type]
        others = ", ".join(other for other, backend in BACKENDS.items() if not is_missing(backend))
        raise BackendError(f"backend {spec!r}: {problem.describe()}; installed here: {others}")
    try:
        backend = library.on(device)
    except ValueError as error:
        raise BackendError(f"backend {library.name!r} has no device {device!r}: {error}") from error
    except Exception as error:
        raise BackendError(f"backend {spec!r} has no device: {first_line(error)}") from error
    if (library, str(backend)) not in _RAN:
        if reason := probe(backend):
            raise BackendError(f"backend {spec!r} is installed, but no matrix product ran on it: {reason}")
        _RAN.add((library, str(backend)))
    return backend


def named(spec: str | Backend | Device) -> str | Backend:
    """The spec of a device object of a library's own; a spec and a `Backend` as they are.

    Parameters
    ----------
    spec : str, Backend, or device of PyTorch, JAX or CuPy

    Returns
    -------
    str or Backend

    Raises
    ------
    BackendError
        If it is none of these.

    Examples
    --------
    >>> import torch
    >>> import portable_nn as pnn
    >>> pnn.backends.named(torch.device("cuda", 1))
    'torch:cuda:1'
    """
    if isinstance(spec, (str, Backend)):
        return spec
    library = type(spec).__module__.partition(".")[0]
    if "device" in type(spec).__name__.lower() and library in _SPECS:
        return _SPECS[library](spec)
    hint = ""
    if name := dtype_named(spec):
        hint = f"; a dtype is given to net.astype({name!r})"
    raise BackendError(f"a backend is named by a string such as 'torch:cuda:0', got {spec!r}{hint}")


_SPECS: dict[str, Callable[[Any], str]] = {
    "torch": lambda device: f"torch:{device}",
    "jaxlib": lambda device: f"jax:{device.platform}:{device.id}",
    "cupy": lambda device: f"cupy:{device.id}",
}
"""How device objects are named, by the top module of their class."""


def _meant(name: str, device: str) -> str | None:
    """The spec that is meant by a device alone, as PyTorch names them."""
    kind = {"gpu": "cuda"}.get(name, name)
    if kind not in ("cpu", "cuda", "mps", "xpu"):
        return None
    return f"torch:{kind}:{device}" if device else f"torch:{kind}"


def spec_of(backend: Backend) -> str:
    """What names a backend to another process: its library and device, or ``module:name`` of one of your own.

    Parameters
    ----------
    backend : Backend

    Returns
    -------
    str
        As `get` takes it.

    Raises
    ------
    BackendError
        If nothing names it.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> pnn.backends.spec_of(pnn.backends.get("numpy"))
    'numpy'
    """
    kind = type(backend)
    if kind is BACKENDS.get(backend.name) or kind in map(load, announced()):
        return str(backend)
    module = sys.modules[kind.__module__]
    for name, value in vars(module).items():
        if value is backend:
            return f"{kind.__module__}:{name}"
    if kind.namespace and getattr(module, kind.__name__, None) is kind:
        device = backend.device_name()
        return f"{kind.__module__}:{kind.__name__}" + (f":{device}" if device else "")
    raise BackendError(
        f"{backend} has no name that another process can import: assign it at the top of {module.__name__}"
    )


def _named(spec: str) -> tuple[Backend | type[Backend], str]:
    """The library of a spec and its device, or a backend of one's own."""
    name, _, device = spec.partition(":")
    if name in BACKENDS:
        return BACKENDS[name], device
    for entry in announced():
        if entry.name == name:
            library = load(entry)
            if isinstance(library, BackendError):
                raise BackendError(f"backend {spec!r}: import failed ({library})")
            return library, device
    found = own(spec)
    if found is None:
        meant = _meant(name, device)
        own_one = ", or name a backend of your own as module:name"
        if meant is None and device.partition(":")[0].isidentifier():
            own_one = f"; of your own there is none, for no module {name!r} can be found"
        raise BackendError(unknown("backend", spec, names(), meant) + own_one)
    if isinstance(found[0], type):
        _BY_NAMESPACE.setdefault(found[0].namespace, found[0])
    return found


_RAN: set[tuple[type[Backend], str]] = set()
"""Backends on which a product ran; which one a library alone means may change with every call."""


def status() -> tuple[Status, ...]:
    """What each library can do on this machine, of `BACKENDS` and of those that installed packages announce.

    Every library that is installed is imported, which may take seconds. An announcement that cannot be kept is
    "import failed".

    Returns
    -------
    tuple of Status

    Examples
    --------
    >>> import portable_nn as pnn
    >>> pnn.backends.status()[0].state
    'ready'
    """
    taken, found = set(BACKENDS), [status_of(library) for library in BACKENDS.values()]
    for entry in announced():
        found.append(_status_announced(entry, entry.name in taken))
        taken.add(entry.name)
    return tuple(found)


def ready() -> Iterator[Backend]:
    """Every device that is ready, the default one of each library first: all that a test on each backend needs.

    Yields
    ------
    Backend

    Examples
    --------
    >>> import portable_nn as pnn
    >>> str(next(pnn.backends.ready()))
    'numpy'
    """
    for found in status():
        for device in found.devices:
            yield get(f"{found.name}:{device}")


def _status_announced(entry: EntryPoint, taken: bool) -> Status:
    if taken:
        return Status(entry.value, "import failed", reason=f"another library has its name, {entry.name}")
    library = load(entry)
    if isinstance(library, BackendError):
        return Status(entry.name, "import failed", reason=str(library))
    return status_of(library)


def __dir__() -> list[str]:
    return __all__
