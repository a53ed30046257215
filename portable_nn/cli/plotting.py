"""`portable-nn plot`: pictures of a network, and of a comparison."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import portable_nn as pnn
from portable_nn import metrics
from portable_nn.cli.comparing import progress_bars, samples_for
from portable_nn.cli.data import Data, Labels, Samples, read_data
from portable_nn.cli.options import (
    BackendSpecs,
    Force,
    Given,
    Model,
    check_means_labels,
    check_outputs,
    load,
    report,
)
from portable_nn.comparison import SWEEP
from portable_nn.comparison.records import Comparison
from portable_nn.labels import label_indices


def plot(
    picture: Annotated[
        Literal["activations", "confusion", "errors", "mistakes", "sweep"], typer.Argument(help="What to draw.")
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Activations to draw, by default the four of the book's chapter 3."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to, as .png or .svg.")],
    model: Model = "mnist",
    data: Data = None,
    labels: Labels = None,
    given: Given = None,
    backend: BackendSpecs = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="For errors and sweep: what compare --json wrote."),
    ] = None,
    force: Force = False,
) -> None:
    """Draw activations, confusion, errors, mistakes or a sweep.

    Example: portable-nn plot mistakes --out mistakes.png; or portable-nn plot activations relu silu -o two.svg
    """
    if names and picture != "activations":
        raise typer.BadParameter(f"names are for activations: leave {' '.join(names)} out")
    compares = picture in ("errors", "sweep")
    if backend and (not compares or source):
        raise typer.BadParameter("--backend is for errors and sweep, measured now: leave it out")
    if source and not compares:
        raise typer.BadParameter("--from is for errors and sweep: leave it out")
    style = report("style")
    style.check_suffix(out)
    check_outputs([out], [data, labels, source, Path(model)], force=force)
    pictures = report("pictures")
    if picture == "activations":
        figure = pictures.activations(names or ())
    elif picture in ("confusion", "mistakes"):
        net = load(model, given)
        check_means_labels(net, given)
        if net.task == "multilabel":
            raise typer.BadParameter(f"{picture} is of one label of each sample, the network gives several")
        samples = read_data(data, labels, net)
        outputs = len(samples), *(net.output_shape or samples.values.shape[-1:])
        truth, predicted = (
            label_indices(labels, outputs, net.meaning)
            for labels in (samples.of_labels(), pnn.infer(net, samples.values))
        )
        if picture == "mistakes" and net.passes.inputs:
            raise typer.BadParameter(f"mistakes are of images, the network takes {', '.join(net.passes.inputs)}")
        if picture == "mistakes":
            confidence = metrics.confidence(pnn.infer(net, samples.values, outputs=True))
            figure = pictures.mistakes(samples.values, truth, predicted, confidence, net.classes)
        else:
            figure = pictures.confusion(metrics.confusion(predicted, truth), net.classes)
    else:
        if source is not None:
            found = compared_before(source)
        else:
            net = load(model, given)
            samples = samples_for(net, data, labels, given)
            found = compared(net, model, samples, backend, SWEEP if picture == "sweep" else ())
        figure = pictures.throughput(found) if picture == "sweep" else pictures.errors(found)
    style.save(figure, out)


def compared_before(source: Path) -> Comparison:
    """The comparison of a file."""
    try:
        found: Comparison = report("interchange").from_json(source.read_bytes())
    except pnn.FormatError as error:
        raise pnn.FormatError(f"{source} is {error}") from error
    return found


def compared(
    net: pnn.Network, model: str, samples: Samples, backends: list[str] | None, batch_sizes: tuple[int, ...]
) -> Comparison:
    """A comparison made now."""
    with progress_bars() as progress:
        return pnn.compare(
            net,
            samples.values,
            samples.labels,
            backends=backends,
            batch_sizes=batch_sizes,
            budget=0.1,
            model=model,
            progress=progress,
        )
