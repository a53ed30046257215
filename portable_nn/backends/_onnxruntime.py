"""ONNX Runtime as NumPy's compiler: layers in float32, written as `portable_nn.save` writes them, in a session.

A session has one number of threads, and a fork leaves them behind: so there is one for each process, and for each
number of cores that a caller was given. ONNX Runtime's activations err by some units in the last place of 1, in
their tails too, where this package's err by some of their own: what a session makes of the first samples is held
against the layers in float64, and a network where it shows is run by the package itself.
"""

import os
from collections.abc import Callable
from math import prod
from threading import Lock, get_ident
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import numpy as np

from portable_nn._typing import Array, Namespace, NumPyArray
from portable_nn.backends._base import Forward, leading_axes
from portable_nn.exporting import exported
from portable_nn.layers import Activation, Dense, Graph, Layers
from portable_nn.metrics import ATOL, RTOL
from portable_nn.threads import ONE_THREAD, given

__all__ = ["through_onnxruntime"]

TRIED = 100
"""Samples of a first call that are computed in float64 too."""

BLIND = {"hardshrink", "softshrink", "threshold"}
"""Activations whose operators make numbers of nan."""

Run: TypeAlias = Callable[[NumPyArray], list[NumPyArray]]
"""From samples along one axis to the outputs."""


def through_onnxruntime(
    forward: Forward, layers: Layers, like: Array, last: tuple[Forward, ...], xp: Namespace
) -> Forward:
    """The forward pass of placed layers, and of the steps after them, by a session.

    Parameters
    ----------
    forward : callable
        The same without one: it is given back where layers cannot be written, or not as they are, or ONNX Runtime
        is not installed, and called where a session fails.
    layers : tuple of layers
    like : array
        The first one that it is called on.
    last : tuple of callables
    xp : namespace
        NumPy's.

    Returns
    -------
    callable
    """
    if isinstance(like, dict) or 0 in like.shape:
        return forward
    leading = leading_axes(layers, like)
    activations: set[str] = {layer.activation for layer in layers if isinstance(layer, Dense)}
    activations |= {layer.name for layer in layers if isinstance(layer, Activation)}
    if leading is None or activations & BLIND:
        return forward
    sample = like.shape[leading:]
    names = layers[-1].outputs if isinstance(layers[-1], Graph) else ()
    names = names if len(names) > 1 else ("output",)

    def flat(x: Array) -> NumPyArray:
        x = np.asarray(x, np.float32)
        return x if leading == 1 else x.reshape(prod(x.shape[:leading]), *sample)  # type: ignore[no-any-return]

    def ended(found: list[NumPyArray], x: Array) -> Any:
        if leading != 1:
            found = [y.reshape(*x.shape[:leading], *y.shape[1:]) for y in found]
        y: Any = dict(zip(names, found, strict=True)) if len(names) > 1 else found[0]
        for step in last:
            y = step(y)
        return y

    try:
        run = _runner(exported(layers, "float32").SerializeToString(), list(names))
        if not _agree(run, flat(like[:TRIED] if leading else like), layers, xp):
            return forward
    except Exception:  # those of ONNX Runtime and of protobuf have no other base
        return forward
    taken_as_is = leading == 1 and type(like) is np.ndarray and like.dtype == np.float32
    given_as_is = leading == 1 and len(names) == 1 and not last

    def compiled(x: Array) -> Any:
        try:
            found = run(x if taken_as_is else flat(x))
        except Exception:  # full memory is the package's own matter, as any other input is
            return forward(x)
        return found[0] if given_as_is else ended(found, x)

    return compiled


def _agree(run: Run, x: NumPyArray, layers: Layers, xp: Namespace) -> bool:
    """Whether a session gives what the layers do, as far as `portable_nn.compare` would say."""
    wanted: Any = x.astype(np.float64)
    with np.errstate(all="ignore"):
        for layer in layers:
            wanted = layer(wanted, xp)
    outputs = wanted.values() if isinstance(wanted, dict) else (wanted,)
    return all(map(_are_close, run(x), outputs))


def _are_close(found: NumPyArray, wanted: NumPyArray) -> bool:
    sizes = np.where(np.isfinite(wanted), np.abs(wanted), 0)
    allowed = ATOL["float32"] + RTOL["float32"] * sizes.max(axis=0, keepdims=True)
    with np.errstate(invalid="ignore"):
        close = np.abs(found - wanted) <= allowed
    return bool(np.all(close | (found == wanted) | (np.isnan(found) & np.isnan(wanted))))


def _runner(model: bytes, names: list[str]) -> Run:
    """A model run by the session that whoever calls may use."""
    sessions: dict[tuple[int, int, bool], Any] = {}  # all that `given` depends on is told sooner than itself

    def run(x: NumPyArray) -> list[NumPyArray]:
        key = _PROCESS[0], get_ident(), ONE_THREAD.is_held
        session = sessions.get(key)
        if session is None:
            session = sessions[key] = _session(model, given())
        return session.run(names, {"input": x}, None)  # type: ignore[no-any-return]

    return run


_SESSIONS: WeakValueDictionary[tuple[int, int, bytes], Any] = WeakValueDictionary()
_OF_PARENT: list[Any] = []  # sessions of before a fork, whose end would wait for threads that are not there
_MAKING = Lock()
_PROCESS = [os.getpid()]  # to ask the system takes a tenth of a small network's time


def _leave_parent() -> None:
    _OF_PARENT.extend(_SESSIONS.values())
    _PROCESS[0] = os.getpid()
    _MAKING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_MAKING.acquire, after_in_parent=_MAKING.release, after_in_child=_leave_parent)


def _session(model: bytes, threads: int) -> Any:
    """The one session of a model in this process with so many threads."""
    import onnxruntime

    key = _PROCESS[0], threads, model
    with _MAKING:
        session = _SESSIONS.get(key)
        if session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            options.log_severity_level = 3
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            # what it wraps is a microsecond quicker, a sixth of a small network's time
            session = _SESSIONS[key] = getattr(session, "_sess", session)
    return session
