"""The convention of "Deep Learning from Scratch": arrays W1, b1, W2, b2, …, sigmoid between, softmax last."""

from collections.abc import Mapping

from portable_nn._typing import Array
from portable_nn.errors import FormatError, NetworkError
from portable_nn.layers import Dense, Rescaling
from portable_nn.network import Network

__all__ = ["book_network"]


def book_network(arrays: Mapping[str, Array], source: object = "the dict") -> Network:
    """Build the network of weights named as in the book.

    Parameters
    ----------
    arrays : mapping of str to array
        Weights W1 of shape (n_0, n_1), W2 of shape (n_1, n_2), …; biases b1 of shape (n_1,), b2, ….
    source : object
        What error messages name as the origin of the arrays.

    Returns
    -------
    Network
        Pixels are divided by 255; sigmoid follows each layer but the last, which softmax follows.

    Raises
    ------
    FormatError
        If the names are others, or the shapes do not chain.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.book import book_network
    >>> net = book_network({"W1": np.ones((4, 3)), "b1": np.ones(3), "W2": np.ones((3, 2)), "b2": np.ones(2)})
    >>> net.layers
    (Rescaling(0.00392157, 0), Dense(4, 3, 'sigmoid'), Dense(3, 2, 'softmax'))
    """
    depth = len(arrays) // 2
    names = [f"{letter}{i}" for i in range(1, depth + 1) for letter in "Wb"]
    if not arrays or set(arrays) != set(names):
        raise FormatError(
            f"{source} holds arrays {', '.join(sorted(arrays)) or 'none'}: name them W1, b1, W2, b2, …, or "
            "build the network with portable_nn.Network and save it with portable_nn.save"
        )
    try:
        dense = (
            Dense(arrays[f"W{i}"], arrays[f"b{i}"], "sigmoid" if i < depth else "softmax")
            for i in range(1, depth + 1)
        )
        return Network((Rescaling(1 / 255), *dense))
    except NetworkError as error:
        raise FormatError(f"{source} holds no network: {error}") from error
