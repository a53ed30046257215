"""Weights where they are needed, and the cache of forward passes with them there."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Literal, TypeAlias

import numpy as np

from portable_nn import backends
from portable_nn._arrays import as_array, check_real, check_there, each, first_of, namespace, native
from portable_nn._typing import Array, DType, FloatName, Namespace, NumPyArray
from portable_nn.activations import ALONG_AXIS
from portable_nn.backends import Backend, Forward, forward_pass
from portable_nn.blank import blank, telling
from portable_nn.errors import InputError, NetworkError, PlacementError
from portable_nn.labels import check_labels, labels_of
from portable_nn.layers import Activation, Flatten, Graph, Layer, Layers, Normalize, Shape, Value, fitted, fused
from portable_nn.meaning import NOTHING, Meaning, check_values
from portable_nn.parts import (
    alone,
    are_fitting,
    as_plain,
    check_dtype,
    entering,
    fitted_parts,
    given_by,
    named,
    taken_by,
)
from portable_nn.rewriting import parted, rewritten

__all__ = ["Passes", "Result", "beside", "common_backend", "common_dtype", "fetched", "plain"]

Result: TypeAlias = Literal["outputs", "logits", "labels", "untold"]
"""What is given for arrays; ``"untold"`` are labels whose caller tells of samples of nothing but nan."""

LABELS: tuple[Result, ...] = "labels", "untold"


def plain(layers: Layers, x: Any, result: Result = "outputs") -> Any:
    """What layers of NumPy weights give as they are, in float64 on NumPy: the reference for everything else.

    Parameters
    ----------
    layers : tuple of layers
        Of NumPy weights.
    x : array, or dict of arrays
        Of NumPy.
    result : {"outputs", "logits", "labels", "untold"}

    Returns
    -------
    array, or dict of arrays
        float64, or integers for labels.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.placing import plain
    >>> plain(pnn.Network([pnn.Dense(np.eye(2), None, "relu")]).layers, np.array([-1, 2]))
    array([0., 2.])
    """
    numpy, inputs, dtype = backends.get("numpy"), taken_by(layers), np.dtype(np.float64)
    steps = as_given(layers, numpy.xp, dtype, result)
    if inputs:
        return forward_pass((*entering(inputs, x, dtype, numpy), *steps))(x)
    return forward_pass(steps)(np.asarray(x, dtype=dtype))


def as_given(
    layers: Layers, xp: Namespace, dtype: DType, result: Result, meaning: Meaning = NOTHING
) -> tuple[Forward, ...]:
    """The steps with weights as they are, cast where they must."""
    if result != "outputs":
        layers, _ = parted(layers)

    def cast(array: Array) -> Array:
        check_there(array)
        return xp.astype(array, dtype, copy=False)

    last = (partial(labels_of, xp=xp, meaning=meaning),) if result in LABELS else ()
    return (*(partial(layer.map(cast), xp=xp) for layer in layers), *last)


def place(backend: Backend, dtype: str, array: NumPyArray) -> Array:
    """A NumPy array of weights on a backend in a dtype, cast before it travels where NumPy has the dtype."""
    narrow = dtype if hasattr(np, dtype) else "float32"
    host = array.astype(narrow) if backend.tracing else _narrowed(array, narrow)
    found = backend.place(host, share=not backend.tracing)
    return found if narrow == dtype else backend.xp.astype(found, backend.dtype(dtype))


def _narrowed(array: NumPyArray, dtype: str) -> NumPyArray:
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype, copy=False)
    except FloatingPointError as error:
        largest = np.abs(array[np.isfinite(array)]).max()
        raise NetworkError(
            f"weights up to {largest:.1e} are too large for {dtype}: give an input of a wider dtype"
        ) from error


class Passes:
    """The forward passes of one network: each is made when an array comes that needs it, and kept.

    The caches are plain dicts without a lock: `torch.compile` traces no lock, and threads that race place weights
    twice. What a trace, a transform or a mode made is not kept.

    Parameters
    ----------
    layers : tuple of layers
        As they were given. Those of NumPy weights are rewritten and placed; others are used as they are.
    backend : Backend or None
        The one whose arrays are taken; None for any.
    dtype : str
        That integers are cast to.
    shapes : sequence of tuple of int or None
        Of one sample, before the layers and after each; None where any will do.
    compiled : bool
        Whether they go through the library's compiler.
    meaning : Meaning
        Of the inputs and outputs.

    Attributes
    ----------
    backend : Backend or None
    follows : bool
        Whether all weights are NumPy's, and are placed where they are needed.
    inputs : dict of str to Value
        Where several are taken, or integers that stay such; else none.
    outputs : tuple of str
        Where several are given; else none.
    of_numpy : dict
        Those that take NumPy's arrays for such of another library, by whatever they depend on.
    """

    backend: Backend | None
    follows: bool
    inputs: dict[str, Value]
    outputs: tuple[str, ...]
    of_numpy: dict[Hashable, Forward]

    def __init__(
        self,
        layers: Layers,
        backend: Backend | None,
        dtype: str,
        shapes: Sequence[Shape | None],
        compiled: bool,
        meaning: Meaning,
    ) -> None:
        self._meaning = meaning
        self._layers, self.backend, self._dtype, self._compiled = layers, backend, dtype, compiled
        self._shapes, self._shape, self._outputs = shapes, shapes[0] or (), shapes[-1]
        self._axes = slice(-len(self._shape), None) if self._shape else slice(0)
        self.follows = all(isinstance(array, np.ndarray) for layer in layers for array in layer.arrays.values())
        self.inputs, self.outputs = taken_by(layers), given_by(layers)
        self._samples = {name: value.shape for name, value in self.inputs.items()}
        self._keys: dict[type, Callable[[Array], Hashable]] = {}
        self._passes: dict[Hashable, Forward] = {}
        self.of_numpy = {}
        self._placed: dict[tuple[str, str], tuple[Layers, tuple[Activation, ...]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        spec = None if self.backend is None else backends.spec_of(self.backend)
        return _made_anew, (self._layers, spec, self._dtype, self._shapes, self._compiled, self._meaning)

    def digest(self) -> str:
        """What results depend on, besides the input: the same in every process, other for other weights."""
        found = sha256(repr((str(self.backend), self._dtype, self._compiled, self._meaning)).encode())
        for layer in self._layers:
            found.update(repr((type(layer).__name__, layer.options)).encode())
            for array in layer.arrays.values():
                found.update(repr((array.dtype.str, array.shape)).encode() + array.tobytes())
        return found.hexdigest()

    def find(self, result: Result, x: Any) -> Forward:
        """The function from arrays like `x`, in library, device and dtype, to a result; the shape is checked."""
        kind = type(x)
        key = self._keys.get(kind)
        forward = None if key is None else self._passes.get((result, kind, key(x)))
        if forward is None:
            return self._found(result, x, forward)
        fits = are_fitting(x, self._samples) if kind is dict else x.shape[self._axes] == self._shape
        return forward if fits else self._found(result, x, forward)

    def taken(self, x: Any) -> Any:
        """What may be given for an array, or a dict of them, as such, with samples of the shape that layers take.

        Raises
        ------
        InputError, ShapeError
            If it is no array, or has others by name than the network, or its samples do not fit.
        """
        if len(self.inputs) > 1:
            return fitted_parts(x, self.inputs)
        if isinstance(x, Mapping):
            x = alone(x, self._layers[0])
        x = as_array(x, self._meaning.inputs)
        return fitted(x, self._shape, namespace(x))

    def _found(self, result: Result, x: Any, forward: Forward | None) -> Forward:
        given = self.taken(x)
        if given is x:
            return forward or self._made(result, x)
        of_given = self.find(result, given)
        return lambda _: of_given(given)  # called on what was given, which it stands for

    def place(self, backend: Backend, dtype: str, anew: bool = False) -> tuple[Layers, tuple[Activation, ...]]:
        """The layers up to the logits with their weights on a backend, and the activation that is left."""
        backend = backend.of_blocks
        where = str(backend), dtype
        if where in self._placed and not anew:
            return self._placed[where]
        layers = self._layers if backend.tracing else rewritten(self._layers, dtype)
        left: tuple[Activation, ...] = ()
        if parted(self._layers)[1]:
            layers, left = parted(layers)
        suited = layers if backend.tracing else backend.suited(layers, dtype)
        found = tuple(layer.map(partial(place, backend, dtype)) for layer in suited), left
        if _are_kept(found[0], backend):
            self._placed[where] = found
        return found

    def has(self, backend: Backend, dtype: str) -> bool:
        """Whether weights in a dtype are in place on a backend."""
        return (str(backend.of_blocks), backend.computed_in(dtype)) in self._placed

    def _made(self, result: Result, x: Any) -> Forward:
        came = _common(x)
        for array in self.floats(x):
            check_real(array, came.xp)
        if self.backend is not None:
            _check_bound(self.backend, came)
        backend = self.backend if self.backend is not None and self.follows else came
        dtype = self.dtype_for(x, backend)
        if result != "outputs":
            outputs = _last_axis(x) if self._outputs is None else self._outputs
            check_labels(self._layers, self._meaning, outputs)
        if self.follows and backend.of_blocks is not backend:
            return self._by_blocks(x, backend, result)
        tells = result == "untold" or (result == "labels" and backend.at_hand is not None)  # of each blank sample
        for array in self.floats(x):
            check_values(array, self._meaning, self._layers, backend, blank=not tells)
        if self.follows:
            return self._placed_beside(x, backend, dtype, result)
        steps = as_given(self._layers, came.xp, dtype, result, self._meaning)
        if self.inputs:
            steps = *entering(self.inputs, x, dtype, backend), *steps
        elif x.dtype != dtype:
            steps = backend.cast_to(dtype), *steps
        return self._told(backend.entered(forward_pass(steps)), x, backend, result)

    def _told(self, forward: Forward, x: Any, backend: Backend, result: Result) -> Forward:
        return telling(forward, backend, x, self._sample_shapes(x)) if result == "labels" else forward

    def blank(self, x: Any) -> int:
        """How many samples hold nothing but nan, in one input at least where there are several."""
        return blank(x, self._sample_shapes(x))

    def _sample_shapes(self, x: Any) -> Mapping[str, Sequence[Any] | None]:
        return self._samples if isinstance(x, dict) else {"": self._shapes[0]}

    def dtype_for(self, x: Any, backend: Backend) -> DType:
        """The floating dtype that is asked for: the widest of the input, or that of the weights."""
        xp = namespace(first_of(x))
        dtypes = [native(array.dtype) for array in self.floats(x) if check_real(array, xp)]
        if not dtypes:
            return backend.dtype(self._dtype if self.follows else common_dtype(self._layers, backend))
        return dtypes[0] if all(dtype == dtypes[0] for dtype in dtypes) else xp.result_type(*dtypes)

    def floats(self, x: Any) -> list[Array]:
        """The arrays that are computed with as floating numbers.

        Raises
        ------
        InputError
            If one is not of real numbers, or another not of integers or booleans as the network takes it.
        """
        given = x if isinstance(x, dict) else dict.fromkeys(self.inputs or ("",), x)
        kept = {name for name, value in self.inputs.items() if not value.is_floating}
        for name in kept:
            check_dtype(given[name], self.inputs[name])
        return [array for name, array in given.items() if name not in kept]

    def _by_blocks(self, x: Any, backend: Backend, result: Result) -> Forward:
        bound = None if self.backend is None else backend.of_blocks
        network = Passes(self._layers, bound, self._dtype, self._shapes, self._compiled, self._meaning)
        known = self._sample_shapes(x)
        given = named(x)
        has_graph = any(isinstance(layer, Graph) for layer in self._layers)
        is_elementwise = result == "outputs" and not any(map(_is_along_axis, self._layers))
        usual = slice(1, None) if has_graph else slice(0) if is_elementwise else slice(-1, None)
        samples = {name: _sample(known[name], array, usual) for name, array in given.items()}
        forward = backend.by_blocks(network, result, samples, x)
        has_lengths = has_graph or not (is_elementwise or result in LABELS)
        if samples == known or not has_lengths:  # else it is made for samples of this shape
            self._keep(result, x, backend, forward)
        return forward

    def _placed_beside(self, x: Any, backend: Backend, dtype: DType, result: Result) -> Forward:
        name = backend.dtype_name(dtype)
        inside = backend.computed_in(name)
        apart = not all(map(backend.mixes, named(x).values()))
        layers, left = self.place(backend, inside, anew=apart)
        computed = dtype if inside == name else backend.dtype(inside)
        if result == "outputs":
            layers = fused((*layers, *left))
        like = self._standing_for(x, backend, computed) if self.inputs else x
        steps = backend.prepared(layers, like, computed)
        if self.inputs:
            steps = *entering(self.inputs, x, computed, backend), *steps
        last: tuple[Forward, ...] = ()
        if result in LABELS:
            last = (partial(self._labels_of, xp=backend.xp),)
        elif computed != dtype:
            last = (partial(each, _rounded(backend.cast_to(dtype), computed)),)
        elif all(map(_lends, layers)):
            last = (lambda x: backend.xp.astype(x, x.dtype),)
        forward = backend.entered(backend.parted(steps + last, layers, like))
        if self._compiled:
            forward = backend.compiled(backend.translated(forward, layers, x, computed, last))
        forward = self._told(forward, x, backend, result)
        untried = self._compiled and 0 in first_of(x).shape
        if _are_kept(layers, backend) and not (apart or backend.tracing or untried):
            self._keep(result, x, backend, forward)
        return forward

    def _labels_of(self, logits: Array, xp: Namespace) -> Array:
        """The labels; where samples of any shape are taken, those of another may mean none."""
        if self._outputs is None:
            check_labels(self._layers, self._meaning, tuple(logits.shape[-1:]))
        return labels_of(logits, xp, self._meaning)

    def _standing_for(self, x: Any, backend: Backend, dtype: DType) -> Array:
        """Samples of one number, as many as several inputs have, in the dtype of the computation."""
        name, value = next(iter(self.inputs.items()))
        array = x[name] if isinstance(x, dict) else x
        axes = len(value.shape or ())
        one = array[..., None] if axes == 0 else array[(..., slice(1), *(0,) * (axes - 1))]
        return backend.entered(backend.cast_to(dtype))(as_plain(one))

    def _keep(self, result: Result, x: Any, backend: Backend, forward: Forward) -> None:
        for array in named(x).values():
            self._keys[type(array)] = backend.key
        if isinstance(x, dict):
            self._keys[dict] = partial(_key_of_parts, self._keys)
        self._passes[result, type(x), self._keys[type(x)](x)] = forward


def _lends(layer: Layer) -> bool:
    """Whether it gives the caller's own array, or a view of it."""
    return isinstance(layer, Flatten) or (isinstance(layer, Activation) and layer.name == "identity")


def _is_along_axis(layer: Layer) -> bool:
    """Whether a layer that takes samples of any shape computes with several values of one."""
    return isinstance(layer, Normalize) or (isinstance(layer, Activation) and layer.name in ALONG_AXIS)


def _sample(known: Sequence[Any] | None, array: Array, usual: slice) -> Shape:
    """The shape of a sample, as far as it is known, in an array."""
    if known is None:
        return tuple(array.shape[usual])
    return tuple(array.shape[array.ndim - len(known) :])


def _last_axis(x: Any) -> Shape | None:
    return None if isinstance(x, dict) else tuple(x.shape[-1:])


def _rounded(cast: Forward, computed: DType) -> Forward:
    """A cast of what was computed in a dtype; labels among outputs stay."""
    return lambda array: cast(array) if array.dtype == computed else array


def _key_of_parts(keys: Mapping[type, Callable[[Array], Hashable]], x: Mapping[str, Array]) -> Hashable:
    return tuple((name, type(array), keys.get(type(array), type)(array)) for name, array in x.items())


def _common(x: Any) -> Backend:
    """The backend of an array, or the one of all in a dict."""
    found = {name: backends.of(array, namespace(array)) for name, array in named(x).items()}
    several = list(found.values())
    first = next((backend for backend in several if backend.device is not None), several[0])
    if not all(first.takes(backend) for backend in several):
        came = " and ".join(f"{backend} ({name})" for name, backend in found.items())
        raise PlacementError(f"inputs are on {came}: bring them to one library and device")
    return next((backend for backend in several if backend.device is None), first)  # traced: anywhere


def _made_anew(layers: Layers, spec: str | None, *others: Any) -> Passes:
    return Passes(layers, None if spec is None else backends.get(spec), *others)


def _are_kept(layers: Layers, backend: Backend) -> bool:
    return all(backend.keeps(array) for layer in layers for array in layer.arrays.values())


def _check_bound(bound: Backend, came: Backend) -> None:
    if bound.takes(came):
        return
    raise PlacementError(
        f"the network is bound to {bound}, and the input is on {came}: "
        f"call net.to({str(came)!r}), or bring the input to {bound}"
    )


def fetched(layers: Layers, backend: Backend) -> Layers:
    """The layers with copies of their weights in NumPy."""
    return tuple(layer.map(lambda array: np.array(backend.to_numpy(array))) for layer in layers)


def common_backend(layers: Layers) -> Backend | None:
    """The one backend of all weights, None if they are NumPy's."""
    found = {
        backends.of(array, namespace(array)): None
        for layer in layers
        for array in layer.arrays.values()
        if not isinstance(array, np.ndarray)
    }
    placed = [backend for backend in found if backend.device is not None]  # the others are traced: anywhere
    if len(placed) > 1 or len({backend.name or backend.xp for backend in found}) > 1:
        raise NetworkError(
            f"weights are on {' and '.join(map(str, found))}: bring them to one library and device first"
        )
    return next(iter(placed or found), None)


def beside(backend: Backend | None, array: Array) -> Array:
    """An array of another library as it is; one of NumPy read-only, or placed where the other weights are."""
    if not isinstance(array, np.ndarray):
        return array
    if backend is not None:
        return backend.place(array)
    array.setflags(write=False)
    return array


def common_dtype(layers: Layers, backend: Backend) -> FloatName:
    """The name of the widest dtype of the weights, float32 where there are none."""
    dtypes = [array.dtype for layer in layers for array in layer.arrays.values()]
    try:
        return backend.dtype_name(backend.xp.result_type(*dtypes)) if dtypes else "float32"
    except InputError as error:
        raise NetworkError(f"weights: {error}") from error
