"""Trying a library: whether it is installed, can be imported, and has a device on which a matrix product runs."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np

from portable_nn._typing import State
from portable_nn.backends._base import Backend

__all__ = ["Status", "first_line", "import_problem", "is_missing", "probe", "status_of"]


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
    state: State
    version: str | None = None
    devices: tuple[str, ...] = ()
    reason: str = ""

    def describe(self) -> str:
        """State and reason in one phrase."""
        return f"{self.state} ({self.reason})" if self.reason else self.state


def status_of(library: type[Backend]) -> Status:
    if problem := import_problem(library):  # type: ignore[arg-type]
        return problem
    version = library.version()
    try:
        devices = library.devices()
    except Exception as error:  # each library has errors of its own for a missing driver
        return Status(library.name, "no device", version, reason=first_line(error))
    reasons = {device: _probe_named(library, device) for device in devices}
    working = tuple(device for device, reason in reasons.items() if not reason)
    if working:
        return Status(library.name, "ready", version, working)
    reason = "; ".join(f"{device}: {reason}" for device, reason in reasons.items())
    return Status(library.name, "no device", version, reason=reason or "it reports none")


def is_missing(library: type[Backend]) -> bool:
    spec = find_spec(library.package.partition(".")[0])
    return spec is None or spec.origin is None  # a mere folder of that name is found too, without an origin


@cache
def import_problem(library: type[Backend]) -> Status | None:
    try:
        if is_missing(library):
            return Status(library.name, "not installed", reason=f"pip install {library.install}")
        library.version()
        __import__(library.namespace)
    except Exception as error:  # a broken installation raises anything
        return Status(library.name, "import failed", reason=first_line(error))
    return None


def _probe_named(library: type[Backend], device: str) -> str:
    try:
        return probe(library.on(device))
    except Exception as error:
        return first_line(error)


def probe(backend: Backend) -> str:
    """Run a small matrix product: why it failed, "" if it did not."""
    try:
        x = backend.place(np.ones((2, 2), dtype=np.float32))
        backend.synchronize(backend.entered(lambda x: x @ x)(x))
    except Exception as error:
        return first_line(error)
    return ""


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().partition("\n")[0]
