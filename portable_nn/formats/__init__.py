"""Model files: `load` and `save`, and one file for each format."""

import os
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from portable_nn._options import hint, unknown
from portable_nn._typing import ActivationName, Weights
from portable_nn.datasets import book_weights
from portable_nn.datasets.embedded import embedded
from portable_nn.errors import FormatError, NetworkError
from portable_nn.formats.book import book_network
from portable_nn.formats.given import check_unsaid
from portable_nn.formats.kinds import FORMATS, format_of
from portable_nn.formats.safetensors import read_safetensors
from portable_nn.layers import Activation, Layer, Shape
from portable_nn.meaning import Task
from portable_nn.network import Network, check_network

__all__ = ["WRITERS", "Format", "format_of", "load", "save"]

Format: TypeAlias = Literal["safetensors", "npz", "pytorch", "keras", "pickle", "onnx", "book"]


class Reader(NamedTuple):
    """A function of a module beside this one, and what it takes besides the path."""

    module: str
    name: str
    takes: tuple[str, ...]


UNSAID = "layers", "activation", "last", "epsilon", "rescale"

READERS = {
    "safetensors": Reader("safetensors", "read_safetensors", ("verify", *UNSAID)),
    "npz": Reader("named", "read_npz", ("verify", "book", *UNSAID)),
    "pytorch": Reader("pytorch", "read_pytorch", ("sample_shape", *UNSAID)),
    "keras": Reader("keras", "read_keras", UNSAID),
    "pickle": Reader("named", "read_pickle", ("book", *UNSAID)),
    "onnx": Reader("onnx", "read_onnx", ()),
}

WRITERS = {
    ".safetensors": Reader("safetensors", "write_safetensors", ()),
    ".npz": Reader("npz", "write_npz", ()),
    ".onnx": Reader("onnx_writing", "write_onnx", ()),
}


def load(
    model: str | os.PathLike[str],
    *,
    format: Format | None = None,  # noqa: A002
    layers: Iterable[str | Layer] | None = None,
    activation: ActivationName | Activation | None = None,
    last: ActivationName | Activation | None = None,
    epsilon: float | None = None,
    rescale: float | Weights | None = None,
    sample_shape: Shape | None = None,
    task: Task | None = None,
    classes: Iterable[str] | Iterable[int] | None = None,
    verify: bool = True,
) -> Network:
    """Load a network from a model file, without the framework that wrote it: nothing that the file names is run.

    The format is told by the content. What a file does not say is asked for, and never guessed.

    Parameters
    ----------
    model : str or path-like
        ``"mnist"`` for the embedded reference network, ``"book"`` for the weights of chapter 3 of "Deep
        Learning from Scratch" (downloaded on first use), or the path of a file:

        - ``.safetensors`` or ``.npz`` as `save` writes them;
        - PyTorch's ``.pt`` and ``.pth``: models saved whole, state dicts, also in ``.safetensors``;
        - Keras's ``.keras``, ``.h5`` and ``.hdf5``: whole models, and weights alone;
        - scikit-learn's estimators, in ``.pkl`` or ``.joblib``;
        - ONNX files, `.onnx`, of PyTorch's exporters, skl2onnx, Keras and others;
        - CosmoPower's emulators, in ``.pkl`` or ``.npz``;
        - arrays by name, in ``.npz`` or ``.pkl``.
    format : str, optional
        What the file is, where its content should not tell. ``"book"`` lets arrays W1, b1, … follow "Deep
        Learning from Scratch": pixels over 255, sigmoids, a softmax last.
    layers : iterable of str and layers, optional
        What a state dict, or Keras's weights alone, do not tell: what runs, in order, such as ``["fc1", "relu",
        "fc2", "softmax"]``.
    activation, last : str or Activation, optional
        Instead of it, and for arrays by name: the activation after each layer but the last, and after the last
        one. Of an emulator of CosmoPower's: ``last="identity"``, or ``"exp10"`` where its modes are logarithms.
    epsilon : float, optional
        What BatchNorm and LayerNorm add to a variance, which weights alone do not tell. Without it, what they add
        unless they were told otherwise: 1e-5 in PyTorch, 1e-3 in Keras.
    rescale : float or array of shape (n_in,), optional
        What features are multiplied by first, where the file does not say: 1 / 255 for pixels.
    sample_shape : tuple of int, optional
        What the first Flatten of a whole model of PyTorch's takes, such as ``(1, 28, 28)``; else vectors.
    task : {"classification", "multilabel", "regression"}, optional
        What outputs mean, where the file does not say.
    classes : iterable of str or of int, optional
        The class of each output, likewise.
    verify : bool
        Whether a network must make of the samples that its file carries what the file says.

    Returns
    -------
    Network
        With NumPy weights, of the dtypes in the file; with the names and classes that it tells.

    Raises
    ------
    FormatError
        If the model is unknown, or its file cannot be read, or does not say enough, or says what is given.
    AccuracyError
        If the network makes something else of its file's samples.
    DataError
        If the book's weights cannot be had.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> net = pnn.load("mnist")
    >>> net(pnn.datasets.mnist("test")[0]).shape
    (10000, 10)
    """
    given = {
        "layers": layers,
        "activation": activation,
        "last": last,
        "epsilon": epsilon,
        "rescale": rescale,
        "sample_shape": sample_shape,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(model, str) and model in ("mnist", "book"):
        check_unsaid({**given, "format": format}, f"{model!r} says itself what it is")
        net = (
            read_safetensors(embedded("mnist.safetensors")) if model == "mnist" else book_network(book_weights())
        )
    else:
        net = _read(model, format, given, verify)
    said = {name: value for name, value in {"task": task, "classes": classes}.items() if value is not None}
    try:
        return net.described(**said) if said else net
    except NetworkError as error:
        raise FormatError(f"{model}: {error}") from error


def _read(model: str | os.PathLike[str], named: str | None, given: dict[str, Any], verify: bool) -> Network:
    if not isinstance(model, (str, os.PathLike)):
        raise FormatError(
            f"a model is a name or a path, got {type(model).__name__}: of live ones there are "
            "pnn.from_torch, pnn.from_keras and pnn.from_sklearn"
        )
    path = Path(model)
    if not path.exists() and path.suffix.lower() not in _suffixes():
        raise FormatError(
            f"unknown model {str(model)!r}{hint(str(model), ['mnist', 'book'])}: "
            f"give 'mnist', 'book', or a path that ends in {', '.join(_suffixes())}"
        )
    if named not in (None, "book", *READERS):
        raise FormatError(unknown("format", named, [*READERS, "book"]))
    kind = format_of(path) if named in (None, "book") else str(named)
    reader = READERS[kind]
    if named == "book" and "book" not in reader.takes:
        raise FormatError(
            f"{path} is of format {kind}, and the book's arrays are in an .npz or .pkl: leave format= out"
        )
    unwanted = {name: value for name, value in given.items() if name not in reader.takes}
    check_unsaid(unwanted, f"{path} is of format {kind}, which says that itself")
    if named == "book":
        given["book"] = True
    if "verify" in reader.takes:
        given["verify"] = verify
    found: Network = _function(reader)(path, **given)
    return found


def _function(reader: Reader) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(import_module(f"{__name__}.{reader.module}"), reader.name)
    return function


def _suffixes() -> list[str]:
    return [suffix for suffixes in FORMATS.values() for suffix in suffixes]


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Save a network, with what is known of its inputs and outputs.

    Files of this package's own, safetensors and .npz, carry samples that prove the network as well.

    The file is written beside `path` and then takes its place, so that a save that fails leaves an older file
    as it was.

    Parameters
    ----------
    net : Network
        Of any library: its weights are fetched.
    path : str or path-like
        It ends in ``.safetensors``, ``.npz``, or ``.onnx`` (which needs the package onnx, extra ``onnx``).

    Raises
    ------
    FormatError
        If the path has another suffix.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> net = pnn.Network([pnn.Dense(np.eye(2), np.zeros(2), "softmax")], classes=["cat", "dog"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.safetensors")
    ...     pnn.save(net, path)
    ...     pnn.load(path).classes
    ('cat', 'dog')
    """
    check_network(net)
    path = Path(path)
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise FormatError(f"networks are saved as {', '.join(WRITERS)}: let the path end so, got {str(path)!r}")
    _function(writer)(net, path)
