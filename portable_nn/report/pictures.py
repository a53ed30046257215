"""Pictures, drawn with matplotlib: each function gives a figure, which `portable_nn.report.save` writes."""

from collections.abc import Sequence
from itertools import cycle
from math import ceil, isqrt, sqrt

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from portable_nn import activations as functions
from portable_nn._options import unknown
from portable_nn._typing import NumPyArray
from portable_nn.comparison.records import Comparison, Row
from portable_nn.errors import InputError, ShapeError
from portable_nn.report.style import paper
from portable_nn.report.words import class_name, name, share

__all__ = ["activations", "confusion", "errors", "mistakes", "square", "throughput"]

MARKERS = "osD^vPX*"
LINES = "-", "--", "-.", ":"
SHOWN = 24

CHAPTER = "step", "sigmoid", "relu", "tanh"
FORMULAS = {
    "identity": "x",
    "step": "1 where x ≥ 0",
    "sigmoid": "1 / (1 + exp(−x))",
    "relu": "max(x, 0)",
    "tanh": "2 · sigmoid(2x) − 1",
    "leaky_relu": "max(x, x / 100)",
    "elu": "x, exp(x) − 1 below 0",
    "gelu": "x · Φ(x)",
    "gelu_tanh": "x · Φ(x), by tanh",
    "silu": "x · sigmoid(x)",
    "softplus": "log(1 + exp(x))",
    "softmax": "of three scores x, 0 and 1",
    "log_softmax": "of three scores x, 0 and 1",
}

LEAST_SIDE = 8
SHORT = 3  # characters of a name that stands upright under a column
SMALLEST = 1e-18  # what no error at all is drawn as: a logarithmic axis has no 0


def throughput(comparison: Comparison, *, dark: bool = False) -> Figure:
    """Samples per second against the batch size, one line for each row, without and with transfers.

    Parameters
    ----------
    comparison : Comparison
    dark : bool
        On dark paper.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with paper(dark):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, transfers in ((left, False), (right, True)):
            for row, marker in zip(comparison.rows, cycle(MARKERS), strict=False):
                if row.measured is None:
                    continue
                speeds = [speed for speed in row.measured.speeds if speed.transfers == transfers]
                axes.loglog(
                    [speed.batch_size for speed in speeds],
                    [speed.images_per_second for speed in speeds],
                    marker=marker,
                    label=_label(comparison, row),
                )
            axes.set_xlabel("samples in a batch")
            axes.xaxis.set_major_formatter("{x:,.0f}")
        left.yaxis.set_major_formatter("{x:,.0f}")
        left.set_ylabel("samples per second")
        left.set_title("samples already on the device")
        right.set_title("samples moved there, outputs moved back")
        _legend(figure, left)
        return figure


def errors(comparison: Comparison, *, dark: bool = False) -> Figure:
    """The share of samples whose largest error is at most so much, one line for each row.

    A vertical line shows what is allowed, where that is the same for all outputs.

    Parameters
    ----------
    comparison : Comparison
    dark : bool
        On dark paper.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with paper(dark):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        axes = figure.subplots()
        found = [(row, row.parity) for row in comparison.rows if row.parity is not None]
        for i, (row, parity) in enumerate(found):
            quantiles = np.maximum(parity.error_quantiles, SMALLEST)
            width = 1.2 + 1.3 * (len(found) - 1 - i)  # a line under others shows beside them
            axes.plot(quantiles, np.arange(101), linewidth=width, label=_label(comparison, row))
        for dtype, atol in sorted({(row.dtype, parity.atol) for row, parity in found if parity.atol}):
            axes.axvline(atol, color=rcParams["text.color"], linewidth=0.8)
            axes.text(atol, 100, f"allowed in {dtype}", rotation=90, ha="right", va="top", fontsize="small")
        axes.set_xscale("log")
        axes.set_xlabel("largest error of a sample's outputs, against NumPy in float64")
        axes.set_ylabel("% of the samples within it")
        _legend(figure, axes)
        return figure


def confusion(
    counts: Sequence[Sequence[int]] | NumPyArray,
    classes: Sequence[str] | Sequence[int] | None = None,
    *,
    title: str = "",
    dark: bool = False,
) -> Figure:
    """How often each true label was predicted as each label.

    Parameters
    ----------
    counts : table of int
        One row for each true label, one column for each predicted one.
    classes : sequence of str or of int, optional
        What rows and columns stand for; by default 0, 1, 2, …
    title : str
    dark : bool
        On dark paper.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with paper(dark):
        table = np.asarray(counts)
        figure = Figure(figsize=(6.4, 5.8), layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=False)
        shades = axes.imshow(
            np.ma.masked_equal(table, 0),
            cmap="cividis" if dark else "Blues",
            norm=LogNorm(1, max(2, table.max())),
        )
        for (i, j), n in np.ndenumerate(table):
            red, green, blue, _ = shades.to_rgba(n)
            on_dark = dark if n == 0 else 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            axes.text(
                j,
                i,
                str(n),
                ha="center",
                va="center",
                color="white" if on_dark else "black",
                alpha=1 if n else 0.3,
            )
        names = [class_name(i, classes) for i in range(len(table))]
        axes.set_xticks(range(len(table)), names, rotation=90 if max(map(len, names)) > SHORT else 0)
        axes.set_yticks(range(len(table)), names)
        axes.set_xlabel("predicted label")
        axes.set_ylabel("true label")
        axes.set_title(title or f"{share(int(table.trace()), int(table.sum()))} right")
        return figure


def mistakes(
    images: NumPyArray,
    truth: NumPyArray,
    predicted: NumPyArray,
    confidence: NumPyArray,
    classes: Sequence[str] | Sequence[int] | None = None,
    *,
    title: str = "",
    dark: bool = False,
) -> Figure:
    """A gallery of misclassified images, the surest mistakes first, at most 24.

    Parameters
    ----------
    images : array of shape (N, n * n) or (N, n, n)
    truth : array of shape (N,), integer
        The true labels.
    predicted : array of shape (N,), integer
        The labels that the network gives.
    confidence : array of shape (N,)
        Their probabilities.
    classes : sequence of str or of int, optional
        What labels stand for, which are their indices; by default themselves.
    title : str
    dark : bool
        On dark paper.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError
        If images are not square.
    """
    with paper(dark):
        wrong = np.flatnonzero(predicted != truth)
        wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
        figure = Figure(figsize=(9, 6.6), layout="constrained")
        figure.suptitle(title or f"{share(len(wrong), len(truth))} images misread, the surest mistakes first")
        for axes, i in zip(figure.subplots(4, 6).flat, wrong[:SHOWN], strict=False):
            axes.imshow(square(images[i]), cmap="gray" if dark else "gray_r", interpolation="nearest")
            true, read = (class_name(int(labels[i]), classes) for labels in (truth, predicted))
            axes.set_title(f"{true} read as {read}\n{confidence[i]:.0%}", fontsize="small")
        for axes in figure.axes:
            axes.set_axis_off()
        return figure


def activations(names: Sequence[str] = (), *, dark: bool = False) -> Figure:
    """Activation functions, one panel each.

    Parameters
    ----------
    names : sequence of str, optional
        Of functions in `portable_nn.activations`; by default the four of the book's chapter 3.
    dark : bool
        On dark paper.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there is no such activation.

    Examples
    --------
    >>> from portable_nn.report import pictures
    >>> [axes.get_title() for axes in pictures.activations(["silu", "relu"]).axes]
    ['silu: x · sigmoid(x)', 'relu: max(x, 0)']
    """
    for given in names:
        if given not in functions.PLAIN:
            raise InputError(unknown("activation", given, functions.PLAIN, functions.ALSO_CALLED.get(given)))
    names = names or CHAPTER
    columns = ceil(sqrt(len(names)))
    rows = ceil(len(names) / columns)
    with paper(dark):
        figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).flat
        for name, axes in zip(names, panels, strict=False):
            _draw_activation(axes, name)
        for axes in panels:
            axes.remove()
        return figure


def _draw_activation(axes: Axes, name: str) -> None:
    function, x = functions.ACTIVATIONS[name], np.linspace(-5, 5, 1001)
    if name in functions.ALONG_AXIS:
        outputs = function(np.stack([x, np.zeros_like(x), np.ones_like(x)], axis=-1))
        for score, output, line in zip("x01", outputs.T, LINES, strict=False):
            axes.plot(x, output, linestyle=line, label=f"of the score {score}")
        axes.legend(fontsize="small")
    else:
        with np.errstate(all="ignore"):  # of what is not defined everywhere
            axes.plot(x, function(x))
    axes.set_title(f"{name}: {FORMULAS[name]}" if name in FORMULAS else name)
    axes.set_xlabel("x")
    axes.set_ylabel("output")


def square(image: NumPyArray) -> NumPyArray:
    """One image as a square of pixels.

    Raises
    ------
    ShapeError
        If its pixels make no square, or one so small that samples may be no images at all.
    """
    side = isqrt(image.size)
    if side * side != image.size or side < LEAST_SIDE:
        raise ShapeError(
            f"samples of shape {image.shape} are no square images, {LEAST_SIDE} pixels wide or more: "
            "there is no picture of them"
        )
    return image.reshape(side, side)


def _label(comparison: Comparison, row: Row) -> str:
    return name(comparison, row) + ("" if row.state == "agrees" else " (differs)")


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, max(1, len(labels))))
