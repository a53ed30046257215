"""Data for several commands: samples and their true labels from files, and names of what a network gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import portable_nn as pnn
from portable_nn._typing import NumPyArray
from portable_nn.readers.csv import read_csv
from portable_nn.readers.npy import read_npy
from portable_nn.readers.npz import read_members
from portable_nn.sources import LABELS, opened, reshaped, samples_of
from portable_nn.streams import number_of_samples

__all__ = ["Data", "Labels", "Samples", "column_names", "one_line", "read_data"]

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="A .npz (images or X, labels or y), .csv (a column label), .npy or IDX file, or folder of PNG "
        "images; the MNIST test images, if not given.",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option("--labels", metavar="PATH", help="The true labels, as .npy or IDX, where --data has none."),
]


@dataclass(frozen=True)
class Samples:
    """Samples, each in the shape that the network takes, and their true labels where they are known.

    Attributes
    ----------
    values : array of shape (N, ...), or a dict of such
    labels : array of shape (N,), or None
        Integers, or names of classes.
    noun : str
        What samples are called.
    """

    values: Any
    labels: NumPyArray | None
    noun: str = "samples"

    def __len__(self) -> int:
        return number_of_samples(self.values)

    def of_labels(self) -> NumPyArray:
        """The labels, which must be there."""
        if self.labels is None:
            raise typer.BadParameter(
                "this needs true labels: give a .npz with images and labels, a .csv with a column label, "
                "or --labels"
            )
        return self.labels


def read_data(path: Path | None, labels: Path | None, net: pnn.Network) -> Samples:
    """The samples and labels of files, by default the MNIST test images."""
    if path is None:
        if labels is not None:
            raise typer.BadParameter("--labels is for --data, the MNIST test images have theirs: leave it out")
        if inputs := net.passes.inputs:
            raise typer.BadParameter(f"the network takes {', '.join(inputs)}, and no MNIST images: give --data")
        images, truth = pnn.datasets.mnist("test")
        if net.input_shape is not None and prod(net.input_shape) != prod(images.shape[1:]):
            raise typer.BadParameter(
                f"the network takes samples of shape {net.input_shape}, and no MNIST images: give --data"
            )
        return Samples(reshaped(images, net.input_shape), truth, "images")
    values, found = _read(path, net)
    if labels is not None:
        if found is not None:
            raise typer.BadParameter(f"{path} has labels: leave --labels out")
        suffix = labels.suffix.lower()
        if suffix in (".csv", ".npz"):
            raise typer.BadParameter(
                f"--labels takes a .npy or IDX file, got {labels}: a .csv or .npz that has both is for --data"
            )
        found = read_npy(labels) if suffix == ".npy" else np.asarray(opened(labels)[:])
    if isinstance(values, dict):
        return Samples(values, found)
    if values.ndim < 1:
        raise pnn.ShapeError(f"{path} holds one number: data have samples along their first axis")
    return Samples(reshaped(values, net.input_shape), found)


def _read(path: Path, net: pnn.Network) -> tuple[Any, NumPyArray | None]:
    inputs = net.passes.inputs
    match path.suffix.lower():
        case ".npz" if path.is_file():
            arrays = read_members(path)
            names = (
                [] if net.passes.outputs else [name for name in LABELS if name in arrays and name not in inputs]
            )
            truth = arrays[names[0]] if names else None
            if len(inputs) > 1:
                return {name: samples_of(path, arrays, name) for name in inputs}, truth
            return samples_of(path, arrays), truth
        case _ if len(inputs) > 1:
            raise typer.BadParameter(
                f"{path} holds one array: give a .npz that holds {', '.join(inputs)} by name"
            )
        case ".csv" if path.is_file():
            table = read_csv(path, net.meaning.inputs)
            return table.values, None if table.labels is None else _of_text(table.labels, net.classes)
    return np.asarray(opened(path, net.meaning.inputs)[:]), None


def _of_text(labels: NumPyArray, classes: Sequence[str] | Sequence[int] | None) -> NumPyArray:
    """Labels as they are where they name classes, else the integers that they are in words."""
    if classes is not None and set(labels.tolist()) <= set(classes):
        return labels
    try:
        return np.array([_integer(label) for label in labels], dtype=np.int64)
    except (ValueError, OverflowError):
        return labels


def _integer(text: str) -> int:
    """The integer that a number is, 1 of 1.0 too."""
    number = float(text)
    if not number.is_integer():
        raise ValueError
    return int(number)


def column_names(net: pnn.Network, columns: int) -> list[str] | None:
    """The names of as many outputs: their own, or of the classes; None where they have none."""
    for names in (net.outputs, net.classes):
        if names is not None and len(names) == columns:
            return [one_line(name) for name in names]
    return None


def one_line(name: Any) -> str:
    """A name without the signs that separate columns and lines."""
    return " ".join(str(name).split())
