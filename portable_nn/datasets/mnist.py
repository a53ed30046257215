"""MNIST: 28 x 28 images of handwritten digits."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from portable_nn._options import unknown
from portable_nn.datasets._fetch import fetch
from portable_nn.datasets.embedded import embedded
from portable_nn.errors import DataError
from portable_nn.readers.idx import read_idx

__all__ = ["mnist"]

SPLITS = {"test": ("t10k", embedded), "train": ("train", fetch)}


def mnist(split: Literal["test", "train"] = "test") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images and labels of a split.

    Parameters
    ----------
    split : str
        ``"test"`` (10,000 images) comes with the package. ``"train"`` (60,000) is downloaded on first use, or
        read from the folder that the environment variable ``PORTABLE_NN_DATA_DIR`` names.

    Returns
    -------
    images : array of shape (N, 784), uint8
        0 is paper, 255 is ink; the rows of an image one after the other.
    labels : array of shape (N,), int64
        The digits, 0 to 9.

    Raises
    ------
    DataError
        If there is no such split, or it cannot be had.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> images, labels = pnn.datasets.mnist("test")
    >>> images.shape, images.dtype, labels[:5]
    ((10000, 784), dtype('uint8'), array([7, 2, 1, 0, 4]))
    """
    if split not in SPLITS:
        raise DataError(f"MNIST: {unknown('split', split, SPLITS)}")
    prefix, find = SPLITS[split]
    images = read_idx(find(f"{prefix}-images-idx3-ubyte.gz"))
    labels = read_idx(find(f"{prefix}-labels-idx1-ubyte.gz"))
    return images.reshape(-1, 784), labels.astype(np.int64)
