"""Backends by name, for a process that shares no objects: specs, and ``module:name`` of a caller's own."""

import sys
from importlib.machinery import PathFinder

from portable_nn import backends
from portable_nn._options import unknown
from portable_nn.backends import Backend
from portable_nn.errors import BackendError

__all__ = ["spec_for"]


def spec_for(backend: str | Backend, in_process: bool) -> str | Backend:
    """What names a backend to the measuring process; the backend itself where that is this process.

    Raises
    ------
    BackendError
        If nothing does.
    """
    backend = backends.named(backend)
    if isinstance(backend, str):
        library = backend.partition(":")[0]
        if library not in backends.names() and not (backends.is_own(backend) and _importable(library)):
            raise BackendError(
                f"{unknown('backend', backend, backends.names())}, or name a backend of your own as module:name"
            )
        return backend
    if in_process:
        return backend
    try:
        return backends.spec_of(backend)
    except BackendError as error:
        raise BackendError(f"{error}, or call compare with in_process=True") from error


def _importable(module: str) -> bool:
    """Whether the measuring process, which knows this folder too, can import a module; nothing is for it."""
    return PathFinder.find_spec(module.partition(".")[0], ["", *sys.path]) is not None
