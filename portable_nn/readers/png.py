"""Folders of PNG images, one sample each, read where they are needed."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from portable_nn.errors import FormatError, ShapeError
from portable_nn.readers.buffers import reading

__all__ = ["Images", "pngs"]

MAX_PIXELS = 2**24  # of one image, 16 MiB in grey

GREYS = "1", "L", "LA", "P", "RGB", "RGBA"
"""Pillow's modes of eight bits: in all of them 255 is white."""


class Images:
    """The PNG files of a folder as an array of shape (N, height, width), uint8, in grey.

    They are sorted by name, and read where a slice is taken.

    Parameters
    ----------
    folder : str or path-like

    Attributes
    ----------
    names : tuple of str
        Those of the files.
    shape : tuple of int

    Raises
    ------
    FormatError
        If a file cannot be read, is no PNG of eight bits, or transparent; or Pillow is not there.
    ShapeError
        If an image has another size than the first.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> from portable_nn.readers.png import Images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (3, 2), "white").save(pathlib.Path(folder, "a.png"))
    ...     images = Images(folder)
    ...     images.names, images.shape, images[0:1].tolist()
    (('a.png',), (1, 2, 3), [[[255, 255, 255], [255, 255, 255]]])
    """

    dtype: np.dtype[np.uint8] = np.dtype(np.uint8)

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self.names: tuple[str, ...] = pngs(folder)
        self.shape: tuple[int, ...] = (len(self.names), *_grey(self._folder / self.names[0]).shape)

    def __getitem__(self, rows: slice) -> np.ndarray[Any, Any]:
        names = self.names[rows]
        found = np.empty((len(names), *self.shape[1:]), self.dtype)
        for image, name in zip(found, names, strict=True):
            grey = _grey(self._folder / name)
            if grey.shape != image.shape:
                raise ShapeError(
                    f"{self._folder / name} is {_size(grey)} pixels, {self.names[0]} is {_size(image)}: the "
                    "images of a folder have one size"
                )
            image[:] = grey
        return found


def pngs(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names of the PNG files of a folder, sorted."""
    with reading(folder, "a folder of PNG files", "give another"):
        return tuple(sorted(name for name in os.listdir(folder) if name.lower().endswith(".png")))


def _size(image: np.ndarray[Any, Any]) -> str:
    height, width = image.shape
    return f"{width} x {height}"


def _grey(path: Path) -> np.ndarray[Any, Any]:
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise FormatError(f'{path} needs Pillow, which is not there: pip install "portable-nn[cli]"') from None
    with (
        reading(path, "a PNG image in eight bits", "save it anew", Exception),  # damage raises many types
        Image.open(path, formats=["PNG"]) as image,
    ):
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"it has {width * height:,} pixels, the limit is {MAX_PIXELS:,}")
        if image.mode not in GREYS:
            raise ValueError(f"its mode is {image.mode}")
        if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            raise ValueError("parts of it are transparent, put it on a background")
        return np.asarray(image.convert("L"))
