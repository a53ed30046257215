"""Model files: `load` and `save`, and one file for each format."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from portable_nn._typing import Array
from portable_nn.datasets import book_weights
from portable_nn.datasets.embedded import embedded
from portable_nn.errors import FormatError
from portable_nn.formats.book import book_network
from portable_nn.formats.named import read_npz, read_pickle
from portable_nn.formats.safetensors import read_safetensors, write_safetensors
from portable_nn.meaning import Task
from portable_nn.network import Network

__all__ = ["load", "save"]

READERS: dict[str, Callable[..., Network]] = {
    ".safetensors": read_safetensors,
    ".npz": read_npz,
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), read_pickle),
}


def load(
    model: str | os.PathLike[str],
    *,
    format: Literal["book"] | None = None,  # noqa: A002
    activation: str | None = None,
    last: str | None = None,
    rescale: Array = None,
    task: Task | None = None,
    verify: bool = True,
) -> Network:
    """Load a network.

    Parameters
    ----------
    model : str or path-like
        ``"mnist"`` for the embedded reference network, ``"book"`` for the weights of chapter 3 of "Deep
        Learning from Scratch" (downloaded on first use), or the path of a model file: ``.safetensors`` as
        `save` writes it; ``.npz``, or ``.pkl``, ``.pickle`` or ``.joblib``, of arrays by name, an emulator of
        CosmoPower's, an estimator of scikit-learn's.
    format : "book", optional
        Let arrays W1, b1, … follow "Deep Learning from Scratch": pixels over 255, sigmoids, a softmax last.
    activation, last : str, optional
        What a file of arrays does not tell: the activations between the layers and after the last one. Of an
        emulator of CosmoPower's: ``last="identity"``, or ``"exp10"`` where its modes are logarithms.
    rescale : float or array of shape (n_in,), optional
        What the features of a file of arrays are multiplied by first.
    task : {"classification", "multilabel", "regression"}, optional
        What the outputs of a file of arrays mean.
    verify : bool
        Whether a network must make of the samples that its file carries what the file says.

    Returns
    -------
    Network
        With NumPy weights, of the dtypes in the file.

    Raises
    ------
    FormatError
        If the model is unknown, or its file cannot be read or is not what its suffix says.
    DataError
        If the book's weights cannot be had.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> net = pnn.load("mnist")
    >>> net(pnn.datasets.mnist("test")[0]).shape
    (10000, 10)
    """
    if model == "mnist":
        return read_safetensors(embedded("mnist.safetensors"))
    if model == "book":
        return book_network(book_weights())
    path = Path(model)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise FormatError(
            f"unknown model {str(model)!r}: give 'mnist', 'book', or a path that ends in {', '.join(READERS)}"
        )
    if reader is read_safetensors:
        return read_safetensors(path, verify=verify)
    book = True if format == "book" else None
    return reader(path, book=book, activation=activation, last=last, rescale=rescale, task=task)


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Save a network as a safetensors file, its architecture in the metadata.

    The file is written beside `path` and then takes its place, so that a save that fails leaves an older file
    as it was.

    Parameters
    ----------
    net : Network
        Of any library: its weights are fetched.
    path : str or path-like
        It must end in ``.safetensors``.

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
    >>> net = pnn.Network([pnn.Dense(np.eye(2), np.zeros(2), "softmax")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.safetensors")
    ...     pnn.save(net, path)
    ...     pnn.load(path).layers
    (Dense(2, 2, 'softmax'),)
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise FormatError(
            f"networks are saved as safetensors: let the path end in .safetensors, got {str(path)!r}"
        )
    write_safetensors(net, path)
