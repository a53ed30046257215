"""`Network`: layers in order, run on the arrays of any library."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, final

from portable_nn import backends
from portable_nn._typing import A, Array
from portable_nn.activations import namespace
from portable_nn.backends import FLOATS, Backend
from portable_nn.errors import InputError, NetworkError, PlacementError
from portable_nn.explain import Explanation, explain
from portable_nn.layers import Dense, Layer, Shape, check_input, sample_shapes
from portable_nn.placing import (
    Forward,
    Result,
    beside,
    common_backend,
    common_dtype,
    fetched,
    forward_in,
    forward_pass,
    labels_of,
    place,
    placed,
)
from portable_nn.rewriting import rewritten, without_last_activation

__all__ = ["Network", "labels_of"]


@final
@dataclass(frozen=True, init=False, eq=False, repr=False)
class Network:
    """Layers in order: one source of the forward pass for every array library.

    A network of NumPy weights follows its input: it works on the arrays of any library, on any device, in any
    floating dtype, and places a copy of its weights there, once. The caller's data never moves. A network with
    weights of another library, or one that `to` has placed, is *bound*: it takes arrays of that library and
    device alone, and nothing moves at all.

    Networks are immutable and may be shared by threads. ``==`` is identity.

    Parameters
    ----------
    layers : iterable of Dense, Rescaling and Flatten
        What one layer gives, the next one must take.
    backend : Backend, optional
        Bind it to this library and device; `to` does so and places the weights there.

    Attributes
    ----------
    layers : tuple of layers
    backend : Backend or None
        The library and device it is bound to, None if it follows its input.

    Raises
    ------
    NetworkError
        If there is no layer, or shapes do not chain, or weights are of several libraries or devices.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> net = pnn.Network([pnn.Dense(np.eye(2), np.zeros(2), "softmax")])
    >>> net(np.array([0.0, 1.0])).round(3)
    array([0.269, 0.731])
    >>> net.predict(np.array([[0.0, 1.0], [3.0, 2.0]]))
    array([1, 0])
    """

    layers: tuple[Layer, ...]
    backend: Backend | None
    _shapes: tuple[Shape | None, ...]  # of a sample, before the first layer and after each
    _dtype: str
    _optimized: bool
    _compiled: bool
    _placed: dict[Any, Forward]
    _source: tuple[Layer, ...] | None  # NumPy's, to rewrite and to place; None if a bound network runs as it is

    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        backend: Backend | None = None,
        _optimized: bool = False,
        _compiled: bool = False,
    ) -> None:
        layers = tuple(layers)
        if not layers:
            raise NetworkError("a network needs at least one layer, got none")
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise NetworkError(f"layer {i} must be Dense, Rescaling or Flatten, got {type(layer).__name__}")
        backend = backend or common_backend(layers)
        layers = tuple(layer.map(partial(beside, backend)) for layer in layers)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "backend", backend)
        object.__setattr__(self, "_shapes", sample_shapes(layers))
        object.__setattr__(self, "_dtype", common_dtype(layers, backend or backends.get("numpy")))
        object.__setattr__(self, "_optimized", _optimized)
        object.__setattr__(self, "_compiled", _compiled)
        object.__setattr__(self, "_placed", {})
        source = layers if backend is None else fetched(layers, backend) if _optimized else None
        object.__setattr__(self, "_source", source)

    def __call__(self, x: A) -> A:
        """The outputs of the last layer.

        Parameters
        ----------
        x : array of shape (n,), (N, n) or with more leading axes
            Of any library and device (of the network's own if it is bound). A floating dtype is that of the
            computation; integers and booleans are cast to the weights' dtype first, or to the device's default
            float where the device lacks it.

        Returns
        -------
        array
            The leading axes of `x`, then the outputs; of the library and on the device of `x`.

        Raises
        ------
        InputError
            If `x` is no array, or not real.
        ShapeError
            If samples have another shape than the first layer takes.
        PlacementError
            If the network is bound, and `x` is elsewhere.
        """
        outputs: A = self._forward("outputs", x)(x)
        return outputs

    def predict(self, x: A) -> A:
        """The label of each sample.

        The index of the largest output, taken before a last activation that keeps the order: a softmax cannot
        change the label, and a saturated sigmoid would tie. With one sigmoid output the label is 1 where its
        logit is at least 0, else 0.

        Parameters
        ----------
        x : array
            As in a call of the network.

        Returns
        -------
        array of integers
            The leading axes of `x`; of the library and on the device of `x`.

        Raises
        ------
        NetworkError
            If the network has one output without a sigmoid: that is regression, which has no labels.
        InputError, ShapeError, PlacementError
            As in a call of the network.
        """
        labels: A = self._forward("labels", x)(x)
        return labels

    def logits(self, x: A) -> A:
        """The outputs before a last activation that keeps their order; `predict` gives the labels they mean.

        Parameters
        ----------
        x : array
            As in a call of the network.

        Returns
        -------
        array
            The leading axes of `x`, then the logits; of the library and on the device of `x`.

        Raises
        ------
        NetworkError, InputError, ShapeError, PlacementError
            As in `predict`.
        """
        logits: A = self._forward("logits", x)(x)
        return logits

    def to(self, spec: str | Backend) -> Self:
        """The same network with its weights placed on a backend, and bound to it.

        Parameters
        ----------
        spec : str or Backend
            As in `portable_nn.backends.get`: ``"torch:cuda:0"``, ``"cupy"``.

        Returns
        -------
        Network
            With weights of the same dtype, or of the device's default float where it has no such.

        Raises
        ------
        BackendError
            If the library or the device is not there.

        Examples
        --------
        >>> import portable_nn as pnn
        >>> net = pnn.load("mnist").to("numpy")
        >>> str(net.backend)
        'numpy'
        """
        backend = backends.get(spec)
        on_backend = partial(place, backend, backend.dtype(self.dtype))
        return self._with((layer.map(on_backend) for layer in self.to_numpy().layers), backend)

    def to_numpy(self) -> Self:
        """The same network with weights in NumPy, which follows its input again; bfloat16 becomes float32."""
        if self.backend is None:
            return self
        return self._with(fetched(self.layers, self.backend), None)

    def astype(self, dtype: str) -> Self:
        """The same network with its weights in another dtype, where it is.

        Parameters
        ----------
        dtype : {"float16", "bfloat16", "float32", "float64"}
            bfloat16 needs a bound network: NumPy has none.

        Returns
        -------
        Network

        Raises
        ------
        NetworkError
            If the dtype is unknown, or the library or device has none such.
        """
        backend = self.backend or backends.get("numpy")
        if dtype not in FLOATS:
            raise NetworkError(f"unknown dtype {dtype!r}: choose one of {', '.join(FLOATS)}")
        new = backend.dtype(dtype)
        if backend.dtype_name(new) != dtype:
            raise NetworkError(f"{backend} has no {dtype}: place the network elsewhere first, net.to('torch')")
        layers = (layer.map(lambda array: backend.xp.astype(array, new)) for layer in self.layers)
        return self._with(layers, self.backend)

    def optimized(self) -> Self:
        """The same network, rewritten exactly into less work wherever it runs.

        Rescaling is folded into the weights, hidden sigmoids become tanh, linear layers are merged where that
        saves products, and a softmax whose logits are provably bounded drops its maximum; nothing in float16
        that would leave its range. `predict` does this by itself, unless the network is bound.

        Returns
        -------
        Network
            With the same layers, rewritten when they are placed. Of a bound network, the weights as they are
            now: what is trained later does not change it.

        Examples
        --------
        >>> import portable_nn as pnn
        >>> net = pnn.load("mnist")
        >>> images, labels = pnn.datasets.mnist("test")
        >>> bool(abs(net.optimized()(images) - net(images)).max() < 1e-5)
        True
        """
        return self._with(self.layers, self.backend, optimized=True)

    def compile(self) -> Self:
        """The optimized network, compiled by the library it runs on: `jax.jit`, `torch.compile`.

        Elsewhere it is the optimized network. The first call of each shape compiles, which takes a while.

        Returns
        -------
        Network

        Examples
        --------
        >>> import portable_nn as pnn
        >>> images, labels = pnn.datasets.mnist("test")
        >>> int((pnn.load("mnist").compile().predict(images) == labels).sum())
        9352
        """
        return self._with(self.layers, self.backend, optimized=True, compiled=True)

    def explain(self, x: Array) -> Explanation:
        """What calling the network on `x` moves, casts and copies: see `portable_nn.explain`.

        Examples
        --------
        >>> import numpy as np
        >>> import portable_nn as pnn
        >>> pnn.load("mnist").explain(np.zeros(784, dtype=np.uint8)).input_cast
        'uint8 to float32'
        """
        return explain(self, x)

    def same_architecture(self, other: Self) -> bool:
        """Whether `other` has the same layers, of the same shapes and activations; values may differ."""
        return [_architecture(layer) for layer in self.layers] == [_architecture(layer) for layer in other.layers]

    def summary(self) -> str:
        """A table of the layers: shape of a sample after each, number of parameters, bytes.

        Returns
        -------
        str

        Examples
        --------
        >>> import portable_nn as pnn
        >>> print(pnn.load("mnist").summary())
        layer                        output  parameters    bytes
        Rescaling(0.00392157, 0)     (784,)           0        0
        Dense(784, 50, 'sigmoid')     (50,)       39250   157000
        Dense(50, 100, 'sigmoid')    (100,)        5100    20400
        Dense(100, 10, 'softmax')     (10,)        1010     4040
        total (float32)                           45360   181440
        """
        width = FLOATS[self.dtype]
        sizes = [sum(math.prod(array.shape) for array in layer.arrays.values()) for layer in self.layers]
        rows = [
            (repr(layer), "any" if shape is None else str(shape), str(size), str(size * width))
            for layer, shape, size in zip(self.layers, self._shapes[1:], sizes, strict=True)
        ]
        rows = [
            ("layer", "output", "parameters", "bytes"),
            *rows,
            (f"total ({self.dtype})", "", str(sum(sizes)), str(sum(sizes) * width)),
        ]
        first = max(len(row[0]) for row in rows)
        second = max(len(row[1]) for row in rows)
        return "\n".join(f"{a:<{first}}  {b:>{second + 2}}  {c:>10}  {d:>7}" for a, b, c, d in rows)

    def __repr__(self) -> str:
        where = f", bound to {self.backend}" if self.backend else ""
        how = ", compiled" if self._compiled else ", optimized" if self._optimized else ""
        return f"Network([{', '.join(map(repr, self.layers))}]{where}{how})"

    def __reduce__(self) -> tuple[Any, ...]:
        spec = str(self.backend) if self.backend and self.backend.name else None
        native = self.backend is None or self.backend.pickles
        layers = self.layers if native else self.to_numpy().layers
        return _rebuilt, (layers, spec, self._optimized, self._compiled)

    @property
    def dtype(self) -> str:
        """The name of the weights' dtype, the widest where they differ."""
        return self._dtype

    @property
    def input_shape(self) -> Shape | None:
        """The shape of one sample, None where any will do."""
        return self._shapes[0]

    @property
    def output_shape(self) -> Shape | None:
        """The shape of the outputs for one sample, None where it is that of the sample."""
        return self._shapes[-1]

    def _forward(self, result: Result, x: Array) -> Forward:
        """The function from arrays like `x`, in library, device and dtype, to a result; and check the shape."""
        try:
            forward = self._placed[result, type(x), x.device, x.dtype]
        except (AttributeError, KeyError):
            forward = self._placed_beside(x, result)
        self._check_shape(x)
        return forward

    def _forward_from_numpy(self, result: Result, x: Array, backend: Backend) -> Forward:
        """The compiled function from NumPy arrays like `x`, which the backend takes, to a result there."""
        key = result, type(x), backend.device, x.dtype
        if key not in self._placed:
            self._placed[key] = self._forward(result, backend.place(x[:1], share=True))
        self._check_shape(x)
        return self._placed[key]

    def _check_shape(self, x: Array) -> None:
        shape = self._shapes[0]
        if shape is not None and x.shape[-len(shape) :] != shape:
            check_input(x, shape)

    def _placed_beside(self, x: Array, result: Result) -> Forward:
        """The forward pass with weights in the library, on the device and in the dtype of `x`."""
        xp = namespace(x)
        if result != "outputs":
            self._check_labels(x)
        backend = backends.of(x, xp)
        key = result, type(x), backend.device, x.dtype
        if key in self._placed:  # of a library whose arrays have no attribute `device`
            return self._placed[key]
        self._check_bound(backend)
        if xp.isdtype(x.dtype, "real floating"):
            dtype, cast_to = x.dtype, None
        elif xp.isdtype(x.dtype, ("bool", "integral")):
            dtype = cast_to = backend.dtype(self._dtype)
        else:
            raise InputError(f"the network takes real numbers, got dtype {x.dtype}")
        name = backend.dtype_name(dtype)
        layers = self.layers if self._source is None else self._source
        if result != "outputs":
            layers = without_last_activation(layers)
        if self._source is None:
            forward = forward_in(layers, xp, dtype, cast_to, result)
        else:
            if (self._optimized or result == "labels") and not backend.tracing:
                layers = rewritten(layers, name, backend.units)
            layers = tuple(placed(layer, backend, dtype) for layer in layers)
            forward = forward_pass(layers, xp, cast_to, result)
        forward = backend.entered(forward)
        if self._compiled:
            forward = backend.compiled(forward)
        if self._source is None or all(
            backend.keeps(array) for layer in layers for array in layer.arrays.values()
        ):
            self._placed[key] = forward
        return forward

    def _with(
        self,
        layers: Iterable[Layer],
        backend: Backend | None,
        *,
        optimized: bool | None = None,
        compiled: bool | None = None,
    ) -> Self:
        """Other layers elsewhere, run in the same way but for what is given."""
        return type(self)(
            layers,
            backend=backend,
            _optimized=self._optimized if optimized is None else optimized,
            _compiled=self._compiled if compiled is None else compiled,
        )

    def _check_labels(self, x: Array) -> None:
        last, outputs = self.layers[-1], self._shapes[-1] or tuple(x.shape[-1:])
        if outputs == (1,) and not (isinstance(last, Dense) and last.activation == "sigmoid"):
            raise NetworkError(
                "one output without a sigmoid is regression, which has no labels: call net(x) for its values"
            )

    def _check_bound(self, came: Backend) -> None:
        bound = self.backend
        if bound is None or bound == came or (bound.xp is came.xp and None in (bound.device, came.device)):
            return
        raise PlacementError(
            f"the network is bound to {bound}, and the input is on {came}: "
            f"call net.to({str(came)!r}), or bring the input to {bound}"
        )


def _architecture(layer: Layer) -> tuple[Any, ...]:
    shapes = {name: tuple(array.shape) for name, array in layer.arrays.items()}
    return type(layer), shapes, layer.input_shape, getattr(layer, "activation", None)


def _rebuilt(layers: tuple[Layer, ...], spec: str | None, optimized: bool, compiled: bool) -> Network:
    net = Network(layers, _optimized=optimized, _compiled=compiled)
    if spec is None or net.backend == backends.get(spec):
        return net
    return net.to(spec)  # pickle may forget the device, and plain numbers have none
