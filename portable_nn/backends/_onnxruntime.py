"""ONNX Runtime as NumPy's compiler: layers in float32, written as `portable_nn.save` writes them, in a session.

A session has one number of threads, and a fork leaves them behind: so there is one for each process, and for each
number of cores that a caller was given. ONNX Runtime's activations err by some units in the last place of 1, in
their tails too, where this package's err by some of their own: what a session makes of the first samples is held
against the layers in float64, and a network where it shows is run by the package itself.
"""

import os
from collections.abc import Callable, Mapping
from math import prod
from threading import Lock, get_ident
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import numpy as np

from portable_nn._arrays import each, first_of
from portable_nn._typing import Array, Namespace, NumPyArray
from portable_nn.activations import ALONG_AXIS
from portable_nn.backends._base import Forward, leading_axes
from portable_nn.exporting import exported
from portable_nn.layers import Activation, Dense, Graph, Layers, Value
from portable_nn.metrics import ATOL, RTOL
from portable_nn.threads import ONE_THREAD, given

__all__ = ["through_onnxruntime"]

TRIED = 100
"""Samples of a first call that are computed in float64 too."""

BLIND = {"hardshrink", "softshrink", "threshold"}
"""Activations whose operators make numbers of nan."""

Run: TypeAlias = Callable[[Mapping[str, NumPyArray]], list[NumPyArray]]
"""From samples along one axis, by the names of inputs, to the outputs."""


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
    like : array, or dict of arrays
        The first one that it is called on.
    last : tuple of callables
    xp : namespace
        NumPy's.

    Returns
    -------
    callable
    """
    inputs = _inputs(layers)
    leading = _leading(layers, like, inputs)
    activations: set[str] = {layer.activation for layer in layers if isinstance(layer, Dense)}
    activations |= {layer.name for layer in layers if isinstance(layer, Activation)}
    if leading is None or 0 in first_of(like).shape or activations & BLIND:
        return forward
    names = layers[-1].outputs if isinstance(layers[-1], Graph) else ()
    names = names if len(names) > 1 else ("result" if "output" in inputs else "output",)

    def fed(x: Any) -> dict[str, NumPyArray]:
        given = x if isinstance(x, dict) else dict.fromkeys(inputs or ("input",), x)
        return {name: _flat(array, inputs.get(name), leading) for name, array in given.items()}

    def ended(found: list[NumPyArray], x: Any) -> Any:
        if leading != 1:
            axes = first_of(x).shape[:leading]
            found = [y.reshape((*axes, *y.shape[1:])) for y in found]
        y: Any = dict(zip(names, found, strict=True)) if len(names) > 1 else found[0]
        for step in last:
            y = step(y)
        return y

    try:
        samples = fed(each(lambda array: array[:TRIED], like) if leading else like)
        wanted = _wanted(layers, samples if inputs else samples["input"], xp)
        dtypes = [y.dtype if y.dtype.kind != "f" else np.dtype(np.float32) for y in wanted]
        run = _runner(exported(layers, "float32", inputs=inputs, outputs=dtypes).SerializeToString(), list(names))
        along_axis = getattr(layers[-1], "activation", getattr(layers[-1], "name", "")) in ALONG_AXIS
        if not all(_are_close(*pair, along_axis) for pair in zip(run(samples), wanted, strict=True)):
            return forward
    except Exception:  # those of ONNX Runtime and of protobuf have no other base
        return forward
    taken_as_is = leading == 1 and not inputs and type(like) is np.ndarray and like.dtype == np.float32
    given_as_is = leading == 1 and len(names) == 1 and not last

    def compiled(x: Any) -> Any:
        try:
            found = run({"input": x} if taken_as_is else fed(x))
        except Exception:  # full memory is the package's own matter, as any other input is
            return forward(x)
        return found[0] if given_as_is else ended(found, x)

    return compiled


def _inputs(layers: Layers) -> dict[str, Value]:
    """The inputs by name where a graph takes several, or integers."""
    match layers[:1]:
        case [Graph(takes_parts=True) as first]:
            return {value.name: value for value in first.inputs}
    return {}


def _leading(layers: Layers, like: Any, inputs: Mapping[str, Value]) -> int | None:
    """How many axes come before those of a sample, None where that is not known."""
    if not inputs:
        return leading_axes(layers, like)
    name = next(iter(like)) if isinstance(like, dict) else next(iter(inputs))
    shape = inputs[name].shape
    return None if shape is None else int(first_of(like).ndim) - len(shape)


def _flat(x: Array, value: Value | None, leading: int) -> NumPyArray:
    """The samples of an input along one axis, as the graph takes them."""
    found: NumPyArray = np.asarray(x, np.float32 if value is None or value.is_floating else value.dtype)
    return found if leading == 1 else found.reshape(prod(found.shape[:leading]), *found.shape[leading:])


def _wanted(layers: Layers, x: Any, xp: Namespace) -> list[NumPyArray]:
    """The outputs of layers in float64."""
    y: Any = each(lambda array: array.astype(np.float64) if array.dtype.kind == "f" else array, x)
    with np.errstate(all="ignore"):
        for layer in layers:
            y = layer(y, xp)
    return list(y.values()) if isinstance(y, dict) else [y]


def _are_close(found: NumPyArray, wanted: NumPyArray, along_axis: bool) -> bool:
    """Whether outputs are off by rounding at most: of the largest of each, or of all that are told together."""
    sizes = np.where(np.isfinite(wanted), np.abs(wanted), 0)
    allowed = (ATOL["float32"] + RTOL["float32"]) * sizes.max(axis=None if along_axis else 0, keepdims=True)
    with np.errstate(invalid="ignore"):
        close = np.abs(found - wanted) <= allowed
    return bool(np.all(close | (found == wanted) | (np.isnan(found) & np.isnan(wanted))))


def _runner(model: bytes, names: list[str]) -> Run:
    """A model run by the session that whoever calls may use."""
    sessions: dict[tuple[int, int, bool], Any] = {}  # all that `given` depends on is told sooner than itself

    def run(samples: Mapping[str, NumPyArray]) -> list[NumPyArray]:
        key = _PROCESS[0], get_ident(), ONE_THREAD.is_held
        session = sessions.get(key)
        if session is None:
            session = sessions[key] = _session(model, given())
        return session.run(names, samples, None)  # type: ignore[no-any-return]

    return run


_SESSIONS: WeakValueDictionary[tuple[int, int, bytes], Any] = WeakValueDictionary()
_OF_PARENT: list[Any] = []  # sessions of before a fork, whose end would wait for threads that are not there
_MAKING = Lock()
_PROCESS = [os.getpid()]  # to ask the system takes a tenth of a small network's time


def _leave_parent() -> None:
    _OF_PARENT.extend(_SESSIONS.values())
    _PROCESS[0] = os.getpid()
    _MAKING.release()


if hasattr(os, "register_at_fork"):  # pragma: no branch: all but Windows
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
