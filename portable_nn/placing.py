"""Weights where they are needed, and the cache of forward passes with them there."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Literal, TypeAlias

import numpy as np

from portable_nn import backends
from portable_nn._arrays import as_array, check_real, namespace, native
from portable_nn._typing import Array, DType, FloatName, Namespace, NumPyArray
from portable_nn.backends import Backend, Forward
from portable_nn.errors import InputError, NetworkError, PlacementError
from portable_nn.layers import Activation, Graph, Layers, Shape, fitted, fused
from portable_nn.meaning import NOTHING, Meaning, check_values
from portable_nn.rewriting import parted, rewritten

__all__ = ["Passes", "Result", "beside", "common_backend", "common_dtype", "fetched", "labels_of", "plain"]

Result: TypeAlias = Literal["outputs", "logits", "labels"]


def labels_of(logits: Array, xp: Namespace, meaning: Meaning = NOTHING) -> Array:
    """The labels that logits mean, in the library of `xp`: the largest one's index, or one logit's sign.

    Of several that exclude none, each logit's sign; and where classes are integers, the class.
    """
    index = xp.__array_namespace_info__().default_dtypes()["indexing"]
    if meaning.task == "multilabel":
        return xp.astype(logits >= 0, index)
    one = logits.shape[-1] == 1
    found = xp.astype(logits[..., 0] >= 0, index) if one else xp.argmax(logits, axis=-1)
    return meaning.class_of(found, xp)


def forward_pass(steps: tuple[Forward, ...]) -> Forward:
    """The forward pass: the one loop."""

    def forward(x: Array) -> Array:
        for step in steps:
            x = step(x)
        return x

    return forward


def plain(layers: Layers, x: Array, result: Result = "outputs") -> NumPyArray:
    """What layers of NumPy weights give as they are, in float64 on NumPy: the reference for everything else.

    Parameters
    ----------
    layers : tuple of layers
        Of NumPy weights.
    x : array
        Of NumPy.
    result : {"outputs", "logits", "labels"}

    Returns
    -------
    array
        float64, or integers for labels.

    Raises
    ------
    NetworkError
        If a graph among them takes or gives several arrays, or takes integers.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.placing import plain
    >>> plain(pnn.Network([pnn.Dense(np.eye(2), None, "relu")]).layers, np.array([-1, 2]))
    array([0., 2.])
    """
    numpy = backends.get("numpy")
    exact = forward_pass(as_given(layers, numpy.xp, np.dtype(np.float64), result))
    if any(isinstance(layer, Graph) and not layer.is_plain for layer in layers):
        raise NetworkError(
            "the network takes or gives several arrays, or integers: call net(x) or net.predict(x)"
        )
    found: NumPyArray = exact(np.asarray(x, dtype=np.float64))
    return found


def as_given(
    layers: Layers, xp: Namespace, dtype: DType, result: Result, meaning: Meaning = NOTHING
) -> tuple[Forward, ...]:
    """The steps with weights as they are, cast where they must."""
    if result != "outputs":
        layers, _ = parted(layers)
    cast = (layer.map(lambda array: xp.astype(array, dtype, copy=False)) for layer in layers)
    last = (partial(labels_of, xp=xp, meaning=meaning),) if result == "labels" else ()
    return (*(partial(layer, xp=xp) for layer in cast), *last)


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
    """

    backend: Backend | None
    follows: bool

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
        self._parts = any(isinstance(layer, Graph) and not layer.is_plain for layer in layers)
        self._keys: dict[type, Callable[[Array], Hashable]] = {}
        self._passes: dict[Hashable, Forward] = {}
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

    def find(self, result: Result, x: Array) -> Forward:
        """The function from arrays like `x`, in library, device and dtype, to a result; the shape is checked."""
        kind = type(x)
        if kind is dict or self._parts:
            return self._of_parts(result, x)
        key = self._keys.get(kind)
        forward = None if key is None else self._passes.get((result, kind, key(x)))
        if forward is None or x.shape[self._axes] != self._shape:
            return self._found(result, x, forward)
        return forward

    def _of_parts(self, result: Result, x: Any) -> Forward:
        """The function from the inputs of a graph by name, or to its outputs: dicts of arrays."""
        given = _parts(self._layers, x)
        xp = namespace(next(iter(given.values())))
        came = list({backends.of(array, namespace(array)): None for array in given.values()})
        backend = next((each for each in came if each.device is None), came[0])  # traced: anywhere
        if len([each for each in came if each.device is not None]) > 1 or any(each.xp is not xp for each in came):
            raise PlacementError(
                f"inputs are on {' and '.join(map(str, came))}: bring them to one library and device"
            )
        key = result, *((name, type(array), backend.key(array)) for name, array in given.items())
        forward = self._passes.get(key)
        if forward is None:
            if self.backend is not None:
                _check_bound(self.backend, backend)
            if result != "outputs" and isinstance(self._layers[-1], Graph) and self._layers[-1].has_parts:
                raise NetworkError("the network has several outputs, which are no labels: call net(x)")
            forward = self._made_of_parts(result, x, given, xp, backend)
            if not backend.tracing and all(backend.keeps(array) for array in given.values()):
                self._passes[key] = forward
        return forward

    def _made_of_parts(
        self, result: Result, x: Any, given: Mapping[str, Array], xp: Namespace, backend: Backend
    ) -> Forward:
        kept = self._layers[0].kept if isinstance(self._layers[0], Graph) else frozenset()
        floats = (native(array.dtype) for array in given.values() if check_real(array, xp))
        own = self._dtype if self.follows else common_dtype(self._layers, backend)
        dtype = next(floats, None) or backend.dtype(own)
        computed = dtype
        if self.follows:
            computed = backend.dtype(backend.computed_in(backend.dtype_name(dtype)))
            layers = tuple(
                layer.map(partial(place, backend, backend.dtype_name(computed)))
                for layer in rewritten(self._layers, backend.dtype_name(computed))
            )
        else:
            layers = tuple(layer.map(lambda array: xp.astype(array, dtype, copy=False)) for layer in self._layers)
        if result != "outputs":
            layers, _ = parted(layers)
        into, out = backend.cast_to(computed), backend.cast_to(dtype)

        def run(x: Any) -> Any:
            named = x if isinstance(x, dict) else {"": x}
            named = {
                name: array if name in kept or (not name and kept) or array.dtype == computed else into(array)
                for name, array in named.items()
            }
            y = named if isinstance(x, dict) else named[""]
            for layer in layers:
                y = layer(y, xp)
            if result == "labels":
                return labels_of(y, xp, self._meaning)
            if computed == dtype:
                return y
            if isinstance(y, dict):
                return {name: out(array) if array.dtype == computed else array for name, array in y.items()}
            return out(y)

        forward = backend.entered(run)
        return backend.compiled(forward) if self._compiled else forward

    def taken(self, x: Any) -> Array:
        """What may be given for an array, as one whose samples have the shape that the layers take.

        Raises
        ------
        InputError, ShapeError
            If it is no array, or its samples do not fit.
        """
        x = as_array(x, self._meaning.inputs)
        return fitted(x, self._shape, namespace(x))

    def _found(self, result: Result, x: Any, forward: Forward | None) -> Forward:
        array = self.taken(x)
        if array is x:
            return forward or self._made(result, x)
        of_array = self.find(result, array)
        return lambda _: of_array(array)  # called on what was given, which it stands for

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
        suited = layers if backend.tracing else backend.suited(layers)
        found = tuple(layer.map(partial(place, backend, dtype)) for layer in suited), left
        if _are_kept(found[0], backend):
            self._placed[where] = found
        return found

    def has(self, backend: Backend, dtype: str) -> bool:
        """Whether weights in a dtype are in place on a backend."""
        return (str(backend.of_blocks), backend.computed_in(dtype)) in self._placed

    def _made(self, result: Result, x: Array) -> Forward:
        xp = namespace(x)
        came = backends.of(x, xp)
        floating = check_real(x, xp)
        if result != "outputs":
            self._meaning.check_labels(self._layers, self._outputs or tuple(x.shape[-1:]))
        if self.backend is not None:
            _check_bound(self.backend, came)
        backend = self.backend if self.backend is not None and self.follows else came
        if self.follows and backend.of_blocks is not backend:
            return self._by_blocks(x, backend, result)
        check_values(x, self._meaning, self._layers, backend)
        if self.follows:
            dtype = native(x.dtype) if floating else backend.dtype(self._dtype)
            return self._placed_beside(x, backend, dtype, result)
        dtype = x.dtype if floating else backend.dtype(common_dtype(self._layers, backend))
        steps = as_given(self._layers, xp, dtype, result, self._meaning)
        return backend.entered(forward_pass(steps if floating else (backend.cast_to(dtype), *steps)))

    def _by_blocks(self, x: Array, backend: Backend, result: Result) -> Forward:
        bound = None if self.backend is None else backend.of_blocks
        network = Passes(self._layers, bound, self._dtype, self._shapes, self._compiled, self._meaning)
        unknown = not self._shape and any(isinstance(layer, Graph) for layer in self._layers)
        sample = (
            tuple(x.shape[1:]) if unknown else self._shape or tuple(x.shape[-1:] if result == "labels" else ())
        )
        forward = backend.by_blocks(network, result, sample, x)
        if unknown:  # made for samples of this shape
            return forward
        self._keys[type(x)] = backend.key
        self._passes[result, type(x), backend.key(x)] = forward
        return forward

    def _placed_beside(self, x: Array, backend: Backend, dtype: DType, result: Result) -> Forward:
        name = backend.dtype_name(dtype)
        inside = backend.computed_in(name)
        alone = not backend.mixes(x)
        layers, left = self.place(backend, inside, anew=alone)
        computed = dtype if inside == name else backend.dtype(inside)
        if result == "outputs":
            layers = fused((*layers, *left))
        steps = backend.prepared(layers, x, computed)
        if result == "labels":
            steps = *steps, partial(labels_of, xp=backend.xp, meaning=self._meaning)
        elif computed != dtype:
            steps = *steps, backend.cast_to(dtype)
        forward = backend.entered(backend.parted(forward_pass(steps), layers, x))
        if self._compiled:
            forward = backend.compiled(forward)
        if _are_kept(layers, backend) and not alone and not backend.tracing:
            self._keys[type(x)] = backend.key
            self._passes[result, type(x), backend.key(x)] = forward
        return forward


def _parts(layers: Layers, x: Any) -> dict[str, Array]:
    """The inputs of the first layer by name."""
    first = layers[0]
    names = [value.name for value in first.inputs] if isinstance(first, Graph) else []
    if not isinstance(x, dict):
        if len(names) > 1:
            raise InputError(f"the network takes a dict of arrays, {', '.join(names)}, got {type(x).__name__}")
        return {(names or [""])[0]: x}
    if not names:
        namespace(x)  # which a dict has none of
    if x.keys() != set(names):
        came = ", ".join(map(str, x)) or "nothing"
        raise InputError(f"the network takes a dict of {', '.join(names)}, got one of {came}")
    return {name: x[name] for name in names}


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
