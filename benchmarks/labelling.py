"""What the processes of `scale` do: label a stream of images, or a memory-mapped file of them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

import portable_nn as pnn

__all__ = ["functions", "write_images"]


def functions() -> dict[str, Callable[..., Any]]:
    """The calls that `scale` makes, for `Worker`; everything is warm when they are there."""
    net = pnn.load("mnist")
    images, labels = pnn.datasets.mnist("test")
    expected = pnn.infer(net, images)
    assert np.mean(expected == labels) > 0.9

    def stream(number: int) -> float:
        """Seconds to label that many images from a generator; the labels are returned as one array."""
        start = perf_counter()
        found = pnn.infer(net, repeated(images, number))
        seconds = perf_counter() - start
        assert_labels(found, expected, number)
        return seconds

    def mapped(source: str) -> float:
        """Seconds to label the images of a .npy file, labels going to another."""
        with TemporaryDirectory(dir=Path(source).parent) as folder:
            start = perf_counter()
            found = pnn.infer(net, source, out=Path(folder) / "labels.npy")
            seconds = perf_counter() - start
            assert_labels(found, expected, len(found))
        return seconds

    return {"stream": stream, "mapped": mapped}


def repeated(images: np.ndarray, number: int) -> Iterator[np.ndarray]:
    """The same images over and over, until there are so many; nothing is copied."""
    for start in range(0, number, len(images)):
        yield images[: number - start]


def assert_labels(found: np.ndarray, expected: np.ndarray, number: int) -> None:
    """Check the labels of repeated images, a few at a time."""
    assert len(found) == number
    for start in range(0, number, len(expected)):
        part = found[start : start + len(expected)]
        assert np.array_equal(part, expected[: len(part)])


def write_images(path: str | os.PathLike[str], number: int) -> None:
    """Write so many images to a .npy file."""
    images, _ = pnn.datasets.mnist("test")
    header = {"shape": (number, images.shape[1]), "fortran_order": False, "descr": images.dtype.str}
    with Path(path).open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for batch in repeated(images, number):
            file.write(batch.data)
