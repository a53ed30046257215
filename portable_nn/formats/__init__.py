"""Model files: `load` and `save`, and one file for each format."""

import os
from pathlib import Path

from portable_nn.datasets import book_weights
from portable_nn.datasets.embedded import embedded
from portable_nn.errors import FormatError
from portable_nn.formats.book import book_network, read_pickle
from portable_nn.formats.npz import read_npz
from portable_nn.formats.safetensors import read_safetensors, write_safetensors
from portable_nn.network import Network

__all__ = ["load", "save"]

READERS = {".safetensors": read_safetensors, ".npz": read_npz, ".pkl": read_pickle}


def load(model: str | os.PathLike[str], *, verify: bool = True) -> Network:
    """Load a network.

    Parameters
    ----------
    model : str or path-like
        ``"mnist"`` for the embedded reference network, ``"book"`` for the weights of chapter 3 of "Deep
        Learning from Scratch" (downloaded on first use), or the path of a model file: ``.safetensors`` as
        `save` writes it; ``.npz``, or ``.pkl`` with a dict, of arrays W1, b1, W2, b2, ….
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
    return read_safetensors(path, verify=verify) if reader is read_safetensors else reader(path)


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
