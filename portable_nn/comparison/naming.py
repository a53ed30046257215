"""Backends by name, for a process that shares no objects: specs, and ``module:name`` of a caller's own."""

import sys
from importlib import import_module
from importlib.machinery import PathFinder

from portable_nn import backends
from portable_nn.backends import Backend
from portable_nn.errors import BackendError

__all__ = ["of_ones_own", "resolve", "spec_of"]


def of_ones_own(spec: str) -> bool:
    """Whether a spec is ``module:name`` of a caller's own backend."""
    library, colon, _ = spec.partition(":")
    return bool(colon) and library not in backends.BACKENDS


def spec_of(backend: str | Backend, in_process: bool) -> str | Backend:
    """What names a backend to the measuring process; the backend itself where that is this process.

    Raises
    ------
    BackendError
        If nothing does.
    """
    if isinstance(backend, str):
        library = backend.partition(":")[0]
        if library not in backends.BACKENDS and not (of_ones_own(backend) and _importable(library)):
            raise BackendError(
                f"unknown backend {backend!r}: choose one of {', '.join(backends.BACKENDS)}, "
                "or name a backend of your own as module:name"
            )
        return backend
    if not isinstance(backend, Backend):
        raise BackendError(f"a backend is named by a string such as 'torch:cuda:0', got {backend!r}")
    if in_process:
        return backend
    if type(backend) is backends.BACKENDS.get(backend.name):
        return str(backend)
    module = type(backend).__module__
    for name, value in vars(sys.modules[module]).items():
        if value is backend:
            return f"{module}:{name}"
    raise BackendError(
        f"{backend} has no name that another process can import: assign it at the top of {module}, "
        "or call compare with in_process=True"
    )


def resolve(spec: str | Backend) -> Backend:
    """The backend of a spec, or the caller's own that ``module:name`` names.

    Raises
    ------
    BackendError
        If there is none.
    """
    if isinstance(spec, Backend):
        return spec
    module, _, name = spec.partition(":")
    if module in backends.BACKENDS:
        return backends.get(spec)
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BackendError(f"backend {spec!r} cannot be imported: {error}") from error
    if not isinstance(found, Backend):
        raise BackendError(f"backend {spec!r} is a {type(found).__name__}: name a portable_nn.backends.Backend")
    return found


def _importable(module: str) -> bool:
    """Whether the measuring process, which knows this folder too, can import a module; nothing is for it."""
    return PathFinder.find_spec(module.partition(".")[0], ["", *sys.path]) is not None
