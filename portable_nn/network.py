"""`Network`: layers in order, run on the arrays of any library."""

from collections.abc import Iterable, Iterator
from dataclasses import FrozenInstanceError, fields
from functools import partial
from typing import Any, Self, final, get_args, overload

import numpy as np
from numpy.typing import NDArray

from portable_nn import backends
from portable_nn._arrays import check_dtype, to_bfloat16
from portable_nn._display import Rows, html_table, layer_table, text_table
from portable_nn._typing import A, Array, Device, Exact, F, FloatLike, FloatName, Numbers, Table
from portable_nn.backends import Backend, Forward
from portable_nn.errors import InputError, NetworkError
from portable_nn.layers import Layer, Shape, architecture, sample_shapes
from portable_nn.meaning import Meaning, Task
from portable_nn.parts import given_by, known, shapes_given_by, taken_by
from portable_nn.placing import Passes, beside, common_backend, common_dtype, fetched
from portable_nn.verification import Verification, samples_of, verified

__all__ = ["Network", "check_network"]


@final
class Network:
    """Layers in order: one source of the forward pass for every array library.

    Who brought the weights decides how the network runs. With NumPy weights it follows its input: beside arrays
    of a library, device and dtype that it has not met, its layers are rewritten exactly into less work, their
    weights placed, and the forward pass kept, for any number of calls. The caller's data never moves. `to` does
    the same at once and for one device, and refuses other arrays. Weights of another library are the caller's
    own: they are used as they are, never copied or rewritten, so that they can be trained.

    Networks are immutable and may be shared by threads. ``==`` is identity. ``net[0]`` is a layer, ``net[:2]``
    the network of the first two; `len` and iteration are those of the layers.

    Parameters
    ----------
    layers : iterable of layers
        `Dense`, `Activation`, `Rescaling`, `Normalize`, `Flatten`, or `portable_nn.layers.Graph`. What one gives,
        the next one must take.
    classes : iterable of str or of int, optional
        The class of each output; of one sigmoid or logit alone, the two classes. Where they are integers,
        `predict` gives them.
    inputs, outputs : iterable of str, optional
        The name of each feature, and of each output. Several arrays have names already.
    task : {"classification", "multilabel", "regression"}, optional
        What outputs mean where the last activation does not tell: logits or values of a linear last layer; or
        several sigmoids that exclude one another or do not.
    input_range : (float, float), optional
        The values that features come in, from the smallest to the largest: others get an `InputWarning`, the
        first time that arrays of a library, device and dtype come.
    input_dtype : str, optional
        The dtype that inputs come in, such as ``"uint8"``. It is for people and casts nothing.
    backend : Backend, optional
        Take arrays of this library and device alone; `to` names it by a spec.
    compiled : bool
        Through the library's compiler, as `compile` says.

    Attributes
    ----------
    layers : tuple of layers
    backend : Backend or None
        The library and device it is bound to, None if it follows its input.
    compiled : bool
    meaning : Meaning
        What was given of classes, names, task, range and dtype.

    Raises
    ------
    NetworkError
        If there is no layer, or shapes do not chain, or weights are of several libraries besides NumPy, or
        devices, or names are not as many as what they name.

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

    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        classes: Iterable[str] | Iterable[int] | None = None,
        inputs: Iterable[str] | None = None,
        outputs: Iterable[str] | None = None,
        task: Task | None = None,
        input_range: tuple[float, float] | None = None,
        input_dtype: str | None = None,
        backend: Backend | None = None,
        compiled: bool = False,
    ) -> None:
        self._fill(
            layers,
            backend=backend,
            compiled=compiled,
            classes=classes,
            inputs=inputs,
            outputs=outputs,
            task=task,
            input_range=input_range,
            input_dtype=input_dtype,
        )

    def _fill(
        self,
        layers: Iterable[Layer],
        *,
        backend: Backend | None = None,
        compiled: bool = False,
        dtype: FloatName | None = None,
        **meaning: Any,
    ) -> Self:
        if isinstance(layers, Layer):
            raise NetworkError(f"a network takes its layers in a list, got {layers!r} alone")
        layers = tuple(layers)
        if not layers:
            raise NetworkError("a network needs at least one layer, got none")
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise NetworkError(
                    f"layer {i} must be one of {', '.join(kind.__name__ for kind in get_args(Layer))}, "
                    f"got {type(layer).__name__}"
                )
        of_weights = common_backend(layers)
        layers = tuple(layer.map(partial(beside, of_weights)) for layer in layers)
        shapes = sample_shapes(layers)
        dtype = dtype or common_dtype(layers, of_weights or backends.get("numpy"))
        backend = backend or of_weights
        means = Meaning.of(layers, shapes[0], shapes[-1], **meaning)
        for names, arrays in (("inputs", taken_by(layers)), ("outputs", given_by(layers))):
            if len(arrays) > 1 and getattr(means, names):
                raise NetworkError(f"it has several {names}, of the names {', '.join(arrays)}: give it no others")
        if of_weights is None and backend is not None:
            dtype = backend.dtype_name(backend.dtype(dtype))
        self.layers: tuple[Layer, ...]  # declared here, where help() does not list what is for this package alone
        self.backend: Backend | None
        self.compiled: bool
        self.meaning: Meaning
        self.passes: Passes
        self._shapes: tuple[Shape | None, ...]  # of a sample, before the first layer and after each
        self._dtype: FloatName
        self.__dict__.update(
            layers=layers,
            backend=backend,
            compiled=compiled,
            meaning=means,
            passes=Passes(layers, backend, dtype, shapes, compiled, means),
            _shapes=shapes,
            _dtype=dtype,
        )
        if backend is not None and self.passes.follows:
            self.passes.place(backend, backend.computed_in(dtype))
        return self

    def __setattr__(self, name: str, value: object) -> None:
        is_described = any(field.name == name for field in fields(Meaning))
        way = f"net.described({name}=…)" if is_described else "pnn.Network([…]), net.to or net.compile"
        raise FrozenInstanceError(f"networks are immutable, {name} stays: make another by {way}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"networks are immutable, {name} stays")

    @overload
    def __call__(self, x: Table | dict[str, Any]) -> Any: ...

    @overload
    def __call__(self, x: NDArray[F]) -> NDArray[F]: ...

    @overload
    def __call__(self, x: NDArray[Exact] | Numbers) -> NDArray[np.floating[Any]]: ...

    @overload
    def __call__(self, x: A) -> A: ...

    def __call__(self, x: Array) -> Array:
        """The outputs of the last layer.

        Parameters
        ----------
        x : array of shape (n,), (N, n) or with more leading axes, or a dict of such
            Of any library and device (of the network's own if it is bound). A floating dtype is that of the
            computation; integers and booleans are cast to the weights' dtype first, or to the device's default
            float where the device lacks it.

            Images of shape (N, 28, 28), or one of shape (28, 28), are taken where the network takes 784 values.
            Lists of numbers and tables, of pandas or Polars, are taken as NumPy's arrays: of a table whose
            columns have names those that `inputs` names, in that order; others are left out.

            Where a network takes several arrays: a dict of all by name, of as many samples, of one library and
            device. Integers that it declares as such stay integers; the widest floating dtype is that of the
            computation.

        Returns
        -------
        array
            The leading axes of `x`, then the outputs; of the library and on the device of `x`, and the caller's
            to write into. Of several outputs a dict.

        Raises
        ------
        InputError
            If `x` is no array, or not real, or a table that lacks an input.
        ShapeError
            If samples have another shape than the first layer takes.
        PlacementError
            If the network is bound, and `x` is elsewhere.
        """
        return self.passes.find("outputs", x)(x)

    @overload
    def predict(self, x: Table | dict[str, Any]) -> Any: ...

    @overload
    def predict(self, x: NDArray[Any] | Numbers) -> NDArray[np.intp]: ...

    @overload
    def predict(self, x: A) -> A: ...

    def predict(self, x: Array) -> Array:
        """The label of each sample.

        The index of the largest output, taken before a last activation that keeps the order: a softmax cannot
        change the label, and a saturated sigmoid would tie. With one sigmoid output the label is 1 where its
        logit is at least 0, else 0; so it is of each output where the task is ``"multilabel"``.

        The label of a sample of nothing but nan means nothing, and gets an `InputWarning`: on NumPy, and on the
        CPU with PyTorch and JAX. To look at values of a GPU would be to wait for it, and under `jax.jit`,
        `torch.compile` and the like there are none: there samples are not looked at, and on Dask when they are
        computed. `portable_nn.infer`, `evaluate` and `compare` warn wherever they compute.

        Parameters
        ----------
        x : array
            As in a call of the network.

        Returns
        -------
        array of integers
            The leading axes of `x`, and for several labels of a sample their axis; of the library and on the
            device of `x`.

        Raises
        ------
        NetworkError
            If the network has one output without a sigmoid: that is regression, which has no labels; or several
            outputs by name.
        InputError, ShapeError, PlacementError
            As in a call of the network.
        """
        return self.passes.find("labels", x)(x)

    @overload
    def logits(self, x: Table | dict[str, Any]) -> Any: ...

    @overload
    def logits(self, x: NDArray[F]) -> NDArray[F]: ...

    @overload
    def logits(self, x: NDArray[Exact] | Numbers) -> NDArray[np.floating[Any]]: ...

    @overload
    def logits(self, x: A) -> A: ...

    def logits(self, x: Array) -> Array:
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
        return self.passes.find("logits", x)(x)

    def to(self, spec: str | Backend | Device) -> Self:
        """The same network for arrays of one backend alone, its weights placed there now.

        So nothing moves when it is called, and arrays of another library or device are an error.

        Parameters
        ----------
        spec : str, Backend, or device of PyTorch, JAX or CuPy
            As in `portable_nn.backends.get`: ``"torch:cuda:0"``, ``"cupy"``.

        Returns
        -------
        Network
            Of weights of the same dtype there, or of the device's default float where it has no such.

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
        return self._remade(self._numpy_layers(), backend=backend, compiled=self.compiled, dtype=self.dtype)

    def to_numpy(self) -> Self:
        """The same network with weights in NumPy, which follows its input again; bfloat16 becomes float32."""
        if self.backend is None:
            return self
        return self._remade(self._numpy_layers(), compiled=self.compiled)

    def astype(self, dtype: FloatLike) -> Self:
        """The same network with its weights in another dtype, where it is.

        Parameters
        ----------
        dtype : {"float16", "bfloat16", "float32", "float64"}
            Or the dtype itself, of NumPy, PyTorch or JAX. bfloat16 needs a bound network: NumPy has none.

        Returns
        -------
        Network

        Raises
        ------
        NetworkError
            If the dtype is unknown, or the library or device has none such.
        """
        name = check_dtype(dtype)
        backend = self.backend or backends.get("numpy")
        if backend.dtype_name(backend.dtype(name)) != name:
            raise NetworkError(f"{backend} has no {name}: place the network elsewhere first, net.to('torch')")
        if self.backend is None or self.backend != common_backend(self.layers):
            cast: Forward = to_bfloat16 if name == "bfloat16" else partial(np.asarray, dtype=name)
        else:
            cast = backend.entered(backend.cast_to(backend.dtype(name)))
        layers = (layer.map(cast) for layer in self.layers)
        return self._remade(layers, backend=self.backend, compiled=self.compiled, dtype=name)

    def compile(self) -> Self:
        """The same network, compiled for the library that it runs on: `jax.jit`, `torch.compile`, ONNX Runtime.

        ONNX Runtime (with the package `onnx`: the extra `onnx`) computes NumPy's arrays in float32, on the graph
        that `portable_nn.save` writes: in a session that is made at the first call and tried on its samples, of
        as many threads as there are cores, of one in a thread or a process of a pool. In another dtype, where a
        layer cannot be written or outputs differ by more than rounding may, and on other libraries it is the
        network itself.

        The first call compiles, on JAX each shape's first one, which takes a while. Of weights of others, what is
        trained later does not change it.

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
        return self._remade(self._numpy_layers(), backend=self.backend, compiled=True, dtype=self.dtype)

    def described(self, **meaning: Any) -> Self:
        """The same network with what its inputs and outputs mean; what is not given stays.

        Parameters
        ----------
        **meaning
            `classes`, `inputs`, `outputs`, `task`, `input_range`, `input_dtype`, as a `Network` takes them; None
            for what is not known.

        Returns
        -------
        Network

        Raises
        ------
        NetworkError
            If the number of names does not fit, or a keyword is another.

        Examples
        --------
        >>> import numpy as np
        >>> import portable_nn as pnn
        >>> net = pnn.Network([pnn.Dense(np.eye(3), None, "softmax")]).described(classes=[1, 2, 3])
        >>> net.predict(np.array([0.0, 5.0, 0.0]))
        np.int64(2)
        """
        facts = {field.name for field in fields(Meaning)}
        if others := meaning.keys() - facts:
            raise NetworkError(f"unknown {', '.join(sorted(others))}: choose from {', '.join(sorted(facts))}")
        return self._remade(
            self.layers, backend=self.backend, compiled=self.compiled, dtype=self._dtype, **meaning
        )

    def _remade(self, layers: Iterable[Layer], **changes: Any) -> Self:
        """Another network of the same meaning."""
        return object.__new__(type(self))._fill(layers, **self.meaning.given() | changes)

    def verify(self, backend: str | Backend | Device = "numpy") -> Verification:
        """Try the network on a backend: its outputs for a few samples against the plain loop in NumPy float64.

        Parameters
        ----------
        backend : str, Backend, or device of PyTorch, JAX or CuPy
            As in `portable_nn.backends.get`.

        Returns
        -------
        Verification
            The largest error, and its share of what rounding may do.

        Raises
        ------
        AccuracyError
            If the outputs differ by more: with what is known of the cause.
        BackendError
            If the library or the device is not there.

        Examples
        --------
        >>> import portable_nn as pnn
        >>> pnn.load("mnist").verify("numpy").share < 1
        True
        """
        target = backends.get(backend)
        bound, layers = self.to(target), self._numpy_layers()
        samples = samples_of(layers, self.input_shape, self.input_range)
        return verified(layers, bound, target, bound.dtype, samples)

    def same_architecture(self, other: Self) -> bool:
        """Whether `other` has the same layers, of the same shapes and activations; values may differ."""
        mine, others = (list(map(architecture, net.layers)) for net in (self, check_network(other)))
        return mine == others

    def summary(self) -> str:
        """A table of the layers: shape of a sample after each, number of parameters, bytes.

        Returns
        -------
        str

        Examples
        --------
        >>> import portable_nn as pnn
        >>> print(pnn.load("mnist").summary())
        layer                      output  parameters   bytes
        Rescaling(0.00392157, 0)   (784,)           0       0
        Dense(784, 50, 'sigmoid')   (50,)       39250  157000
        Dense(50, 100, 'sigmoid')  (100,)        5100   20400
        Dense(100, 10, 'softmax')   (10,)        1010    4040
        total (float32)                         45360  181440
        """
        return text_table(self._rows())

    def __repr__(self) -> str:
        where = f"bound to {self.backend}" if self.backend else ""
        how = "compiled" if self.compiled else ""
        return "\n".join([self.summary(), *filter(None, [where, how])])

    def _repr_html_(self) -> str:
        return html_table(self._rows())

    def _rows(self) -> Rows:
        *shapes, last = self._shapes[1:]
        given = shapes_given_by(self.layers) or last
        inputs = {name: value.shape for name, value in self.passes.inputs.items()}
        return layer_table(self.layers, [*shapes, given], self.dtype, inputs)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, key: int) -> Layer: ...

    @overload
    def __getitem__(self, key: slice) -> Self: ...

    def __getitem__(self, key: int | slice) -> Layer | Self:
        """A layer; or the network of several, with what is known of the inputs or outputs that stay the same."""
        if not isinstance(key, slice):
            try:
                return self.layers[key]
            except IndexError:
                raise IndexError(f"there is no layer {key}: the network has {len(self)}, from 0 on") from None
        places = range(len(self))[key]
        lost: tuple[str, ...] = ()
        if 0 not in places[:1]:
            lost += "inputs", "input_range", "input_dtype"
        if len(self) - 1 not in places[-1:]:
            lost += "outputs", "classes", "task"
        return self._remade(
            self.layers[key],
            backend=self.backend,
            compiled=self.compiled,
            dtype=None if self.backend is None else self.dtype,
            **dict.fromkeys(lost),
        )

    def __dir__(self) -> list[str]:
        return [
            name for name in object.__dir__(self) if name.endswith("__") or (name[0] != "_" and name != "passes")
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        spec = backends.spec_of(self.backend) if self.backend and self.backend.name else None
        keeps = self.backend is None or self.backend.pickles
        layers = self.layers if keeps else self._numpy_layers()
        return _rebuilt, (layers, spec, self.compiled, self.dtype, self.meaning.given())

    def _numpy_layers(self) -> tuple[Layer, ...]:
        owner = common_backend(self.layers)
        return self.layers if owner is None else fetched(self.layers, owner)

    @property
    def classes(self) -> tuple[str, ...] | tuple[int, ...] | None:
        """The class of each output, or the two of one output."""
        return self.meaning.classes

    @property
    def inputs(self) -> tuple[str, ...] | dict[str, Shape | None] | None:
        """The name of each feature; where it takes several arrays, the shape of one sample of each, by name."""
        if len(self.passes.inputs) > 1:
            return {name: known(value) for name, value in self.passes.inputs.items()}
        return self.meaning.inputs

    @property
    def outputs(self) -> tuple[str, ...] | dict[str, Shape | None] | None:
        """The name of each output; where it gives several arrays, the shape of one sample of each, by name."""
        return shapes_given_by(self.layers) or self.meaning.outputs

    @property
    def task(self) -> Task | None:
        """What outputs mean, as was given or as the last activation tells; None where neither does."""
        return self.meaning.task_of(self.layers)

    @property
    def input_range(self) -> tuple[float, float] | None:
        """The values that features come in."""
        return self.meaning.input_range

    @property
    def input_dtype(self) -> str | None:
        """The dtype that inputs come in."""
        return self.meaning.input_dtype

    @property
    def dtype(self) -> FloatName:
        """The name of the weights' dtype, the widest where they differ."""
        if self.passes.follows or self.backend is None:
            return self._dtype
        return common_dtype(self.layers, self.backend)  # that of weights which others hold may change

    @property
    def input_shape(self) -> Shape | None:
        """The shape of one sample, None where any will do."""
        return self._shapes[0]

    @property
    def output_shape(self) -> Shape | None:
        """The shape of the outputs for one sample, None where it is that of the sample."""
        return self._shapes[-1]


def _rebuilt(
    layers: tuple[Layer, ...], spec: str | None, compiled: bool, dtype: FloatName, meaning: dict[str, Any]
) -> Network:
    net = object.__new__(Network)._fill(layers, compiled=compiled, dtype=dtype, **meaning)
    if spec is None or net.backend == backends.get(spec):
        return net
    return net.to(spec)  # pickle may forget the device of weights, and NumPy's know none


def check_network(net: object) -> Network:
    """A network itself, an error for all else.

    Parameters
    ----------
    net : object

    Returns
    -------
    Network

    Raises
    ------
    InputError
        If it is none: what to do.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> from portable_nn.network import check_network
    >>> check_network(pnn.Network([pnn.Rescaling(0.5)])).layers
    (Rescaling(0.5, 0),)
    """
    if isinstance(net, Network):
        return net
    raise InputError(f"net must be a portable_nn.Network, got {type(net).__name__}: load one with pnn.load")
