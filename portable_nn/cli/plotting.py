"""`portable-nn plot`: pictures of a network, and of a comparison."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import portable_nn as pnn
from portable_nn import metrics
from portable_nn.cli.comparing import progress_bars
from portable_nn.cli.options import BackendSpecs, Data, Model, NumPyArray, read_data, report
from portable_nn.compare import SWEEP
from portable_nn.comparison.records import Comparison


def plot(
    picture: Annotated[
        Literal["activations", "confusion", "errors", "mistakes", "sweep"], typer.Argument(help="What to draw.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to, as .png or .svg.")],
    model: Model = "mnist",
    data: Data = None,
    backend: BackendSpecs = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="For errors and sweep: what compare --json wrote."),
    ] = None,
) -> None:
    """Draw activations, confusion, errors, mistakes or a sweep.

    Example: portable-nn plot mistakes --out mistakes.png
    """
    style = report("style")
    style.check_suffix(out)
    pictures = report("pictures")
    if picture == "activations":
        figure = pictures.activations()
    elif picture in ("confusion", "mistakes"):
        images, labels, outputs = read_outputs(model, data)
        if picture == "mistakes":
            figure = pictures.mistakes(images, labels, outputs)
        else:
            figure = pictures.confusion(metrics.confusion(outputs.argmax(axis=1), labels))
    else:
        if source is not None:
            found = report("interchange").from_json(source.read_text(encoding="utf-8"))
        else:
            found = compared(model, data, backend, SWEEP if picture == "sweep" else ())
        figure = pictures.throughput(found) if picture == "sweep" else pictures.errors(found)
    style.save(figure, out)


def read_outputs(model: str, data: Path | None) -> tuple[NumPyArray, NumPyArray, NumPyArray]:
    """Images, their true labels, and the outputs that NumPy gives."""
    net = pnn.load(model)
    images, labels = read_data(data, net)
    if labels is None:
        raise typer.BadParameter("this picture needs true labels: give a .npz with images and labels")
    return images, labels, net(images)


def compared(
    model: str, data: Path | None, backends: list[str] | None, batch_sizes: tuple[int, ...]
) -> Comparison:
    """A comparison made now."""
    net = pnn.load(model)
    images, labels = read_data(data, net)
    with progress_bars() as progress:
        return pnn.compare(
            net,
            images,
            labels,
            backends=backends,
            batch_sizes=batch_sizes,
            budget=0.1,
            model=model,
            progress=progress,
        )
