"""Backends that are made elsewhere: announced by installed packages, or named as ``module:name``.

A package announces a subclass of `Backend` by an entry point of the group `portable_nn.backends`, under the name
that the library has in specs. Nothing of it is imported before a spec, an array or a status asks for it.
"""

import sys
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import isclass

from portable_nn.backends._base import Backend
from portable_nn.errors import BackendError

__all__ = ["GROUP", "announced", "load", "own"]

GROUP = "portable_nn.backends"


def announced() -> tuple[EntryPoint, ...]:
    """What installed packages announce; of those that share a name, the first is meant by it."""
    return _announced(tuple(sys.path))


@cache
def _announced(_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


@cache
def load(entry: EntryPoint) -> type[Backend] | BackendError:
    """The class that an entry point names, or why there is none; once, for what fails may take long."""
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:  # the code of others raises anything
        return BackendError(f"{type(error).__name__}: {error}".strip().partition("\n")[0])
    if not (isclass(found) and issubclass(found, Backend)):
        return BackendError(f"{entry.value} is no subclass of portable_nn.backends.Backend")
    if found.name != entry.name:
        return BackendError(f"{entry.value} has the name {found.name!r}, and is announced as {entry.name!r}")
    return found


def own(spec: str) -> tuple[Backend | type[Backend], str] | None:
    """The backend or the class that ``module:name`` names, and the device after it; None without such a module.

    Raises
    ------
    BackendError
        If the module cannot be imported, or holds no such backend.
    """
    module, _, rest = spec.partition(":")
    name, _, device = rest.partition(":")
    if not all(part.isidentifier() for part in (name, *module.split("."))):
        return None
    try:
        found = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            return None
        raise BackendError(f"backend {spec!r} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:  # the code of others raises anything
        raise BackendError(f"backend {spec!r} cannot be imported: {error}") from error
    if isclass(found) and issubclass(found, Backend):
        return found, device
    if not isinstance(found, Backend):
        raise BackendError(f"backend {spec!r} is a {type(found).__name__}: name a portable_nn.backends.Backend")
    if device:
        raise BackendError(f"backend {spec!r} is on its device already: leave {device!r} out")
    return found, ""
