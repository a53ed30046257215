"""The weights of chapter 3 of "Deep Learning from Scratch"."""

from typing import Any

import numpy as np

from portable_nn.datasets._fetch import fetch
from portable_nn.readers.pickles import read_arrays

__all__ = ["book_weights"]


def book_weights() -> dict[str, np.ndarray[Any, Any]]:
    """Return the weights of chapter 3 of "Deep Learning from Scratch": W1, b1, W2, b2, W3, b3.

    Downloaded on first use, or read from the folder that the environment variable ``PORTABLE_NN_DATA_DIR``
    names.

    Returns
    -------
    dict of str to array
        NumPy, float32, of shapes (784, 50), (50,), (50, 100), (100,), (100, 10), (10,).

    Raises
    ------
    DataError
        If they cannot be had.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> pnn.datasets.book_weights()["W1"].shape  # doctest: +SKIP
    (784, 50)
    """
    return read_arrays(fetch("sample_weight.pkl"))
