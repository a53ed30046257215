"""Array libraries and their devices: which are here, and what each needs that the standard does not say.

A new library is one file here and its class in `BACKENDS`. A conforming library without a file works too,
through the defaults of `Backend`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Literal

import array_api_compat
import numpy as np

from portable_nn._arrays import FLOATS
from portable_nn._typing import Array, Device, Namespace
from portable_nn.backends._base import Backend, Forward
from portable_nn.backends._cupy import CuPy
from portable_nn.backends._dask import Dask
from portable_nn.backends._dpnp import Dpnp
from portable_nn.backends._jax import JAX
from portable_nn.backends._numpy import NumPy
from portable_nn.backends._strict import ArrayAPIStrict
from portable_nn.backends._torch import Torch
from portable_nn.errors import BackendError

__all__ = ["BACKENDS", "FLOATS", "Backend", "Forward", "Status", "device_of", "get", "of", "ready", "status"]

BACKENDS: dict[str, type[Backend]] = {
    backend.name: backend for backend in (NumPy, Torch, CuPy, JAX, Dask, Dpnp, ArrayAPIStrict)
}

_BY_NAMESPACE = {backend.namespace: backend for backend in BACKENDS.values()}


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
    return _BY_NAMESPACE.get(xp.__name__, Backend)(xp, device_of(x))


def get(spec: str | Backend) -> Backend:
    """The backend of a spec, once a small matrix product has run on its device.

    Parameters
    ----------
    spec : str or Backend
        A library and, after a colon, its device: ``"torch"``, ``"torch:cuda:1"``, ``"cupy:0"``,
        ``"array_api_strict:device1"``. A `Backend` is returned as it is.

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
    if isinstance(spec, Backend):
        return spec
    if not isinstance(spec, str):
        raise BackendError(f"a backend is named by a string such as 'torch:cuda:0', got {spec!r}")
    name, _, device = spec.partition(":")
    if name not in BACKENDS:
        hint = f"; did you mean torch:{spec}?" if name in ("cpu", "cuda", "gpu", "mps") else ""
        raise BackendError(f"unknown backend {spec!r}: choose one of {', '.join(BACKENDS)}{hint}")
    if problem := _import_problem(name):
        others = ", ".join(other for other, backend in BACKENDS.items() if not _missing(backend))
        raise BackendError(f"backend {spec!r}: {problem.describe()}; installed here: {others}")
    try:
        backend = BACKENDS[name].on(device)
    except ValueError as error:
        raise BackendError(f"backend {name!r} has no device {device!r}: {error}") from error
    except Exception as error:
        raise BackendError(f"backend {spec!r} has no device: {_first_line(error)}") from error
    if str(backend) not in _RAN:
        if reason := _probe(backend):
            raise BackendError(f"backend {spec!r} is installed, but no matrix product ran on it: {reason}")
        _RAN.add(str(backend))
    return backend


_RAN: set[str] = set()
"""Backends on which a product ran; which one a library alone means may change with every call."""


@dataclass(frozen=True)
class Status:
    """What is known of one library on this machine.

    Attributes
    ----------
    name : str
        The library, as specs name it.
    state : {"ready", "no device", "import failed", "not installed"}
    version : str or None
        None where it could not be imported.
    devices : tuple of str
        Those on which a small matrix product ran, the default one first.
    reason : str
        Why it is not ready, with the pip command where it is not installed; "" where it is.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> pnn.backends.Status("cupy", "not installed", reason="pip install cupy-cuda12x").describe()
    'not installed (pip install cupy-cuda12x)'
    """

    name: str
    state: Literal["ready", "no device", "import failed", "not installed"]
    version: str | None = None
    devices: tuple[str, ...] = ()
    reason: str = ""

    def describe(self) -> str:
        """State and reason in one phrase."""
        return f"{self.state} ({self.reason})" if self.reason else self.state


def status() -> tuple[Status, ...]:
    """What each library of `BACKENDS` can do on this machine.

    Every library that is installed is imported, which may take seconds.

    Returns
    -------
    tuple of Status

    Examples
    --------
    >>> import portable_nn as pnn
    >>> pnn.backends.status()[0].state
    'ready'
    """
    return tuple(_status(library) for library in BACKENDS.values())


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


def _status(library: type[Backend]) -> Status:
    if problem := _import_problem(library.name):
        return problem
    version = library.version()
    try:
        devices = library.devices()
    except Exception as error:  # each library has errors of its own for a missing driver
        return Status(library.name, "no device", version, reason=_first_line(error))
    reasons = {device: _probe_named(library, device) for device in devices}
    working = tuple(device for device, reason in reasons.items() if not reason)
    if working:
        return Status(library.name, "ready", version, working)
    reason = "; ".join(f"{device}: {reason}" for device, reason in reasons.items())
    return Status(library.name, "no device", version, reason=reason or "it reports none")


def _missing(library: type[Backend]) -> bool:
    spec = find_spec(library.package.partition(".")[0])
    return spec is None or spec.origin is None  # a mere folder of that name is found too, without an origin


@cache
def _import_problem(name: str) -> Status | None:
    library = BACKENDS[name]
    if _missing(library):
        return Status(name, "not installed", reason=f"pip install {library.install}")
    try:
        library.version()
        __import__(library.namespace)
    except Exception as error:  # a broken installation raises anything
        return Status(name, "import failed", reason=_first_line(error))
    return None


def _probe_named(library: type[Backend], device: str) -> str:
    try:
        return _probe(library.on(device))
    except Exception as error:
        return _first_line(error)


def _probe(backend: Backend) -> str:
    """Run a small matrix product: why it failed, "" if it did not."""
    try:
        x = backend.place(np.ones((2, 2), dtype=np.float32))
        backend.synchronize(backend.entered(lambda x: x @ x)(x))
    except Exception as error:
        return _first_line(error)
    return ""


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().partition("\n")[0]
