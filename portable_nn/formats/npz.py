"""NumPy's .npz archives with arrays W1, b1, W2, b2, …, in the convention of `portable_nn.formats.book`."""

import os

from portable_nn.formats.book import book_network
from portable_nn.network import Network
from portable_nn.readers.npz import read_arrays

__all__ = ["read_npz"]


def read_npz(path: str | os.PathLike[str]) -> Network:
    """Read an .npz of arrays W1, b1, W2, b2, ….

    Parameters
    ----------
    path : str or path-like
        As `numpy.savez` and `numpy.savez_compressed` write it.

    Returns
    -------
    Network

    Raises
    ------
    FormatError
        If the file cannot be read, or does not hold these arrays alone.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.formats.npz import read_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.npz")
    ...     np.savez(path, W1=np.eye(2), b1=np.zeros(2))
    ...     read_npz(path).layers
    (Rescaling(0.00392157, 0), Dense(2, 2, 'softmax'))
    """
    return book_network(read_arrays(path), path)
