"""`portable-nn predict`: label files of any length, on this machine or on a cluster."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from math import prod
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import portable_nn as pnn
from portable_nn._arrays import each
from portable_nn._typing import NumPyArray
from portable_nn.cli.data import column_names, one_line
from portable_nn.cli.options import (
    OUTPUTS,
    BackendSpec,
    Force,
    Given,
    Model,
    check_means_labels,
    check_outputs,
    load,
    progress_bar,
)
from portable_nn.clients import connected, dashboard
from portable_nn.labels import without_labels
from portable_nn.report.words import class_name
from portable_nn.results import files_of
from portable_nn.sources import NAME_THEM, Source, opened_parts, source_of
from portable_nn.streams import number_of_samples


def predict(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A .npy, .npz, .csv or IDX file of samples along the first axis, a folder of PNG images, a zarr "
            "array, or a pattern: 'x-*.npy'. For several inputs, a .npz that holds each by its name.",
        ),
    ],
    model: Model = "mnist",
    backend: BackendSpec = "numpy",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write a .npy or .zarr; of several outputs a folder, of a .npy for each, or a .zarr group. The "
            "same command completes a killed one.",
        ),
    ] = None,
    outputs: Annotated[
        bool,
        typer.Option(
            OUTPUTS,
            "--probabilities",
            help="Give the network's outputs instead of labels: probabilities, or the values of a regression.",
        ),
    ] = False,
    array: Annotated[
        str | None,
        typer.Option("--array", metavar="NAME", help="The samples in an .npz; images, x, X or the only one."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document: labels, names, and outputs if asked for.")
    ] = False,
    given: Given = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", min=1, help="Samples per call; as many as suit if not given."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Threads on NumPy; one for each core.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="tcp://HOST:PORT|local[:N]",
            help="Compute on a Dask cluster whose machines see the files, or on N processes here.",
        ),
    ] = None,
    block_size: Annotated[
        int,
        typer.Option(
            "--block-size", metavar="N", min=1, help="Samples of a chunk of a .zarr, a task of a cluster."
        ),
    ] = 100_000,
    force: Force = False,
) -> None:
    """Label the samples of a file, however long, in bounded memory.

    Without --out, one line for each sample: the name of its class where classes have names, and before it that of
    the file in a folder. Tabs separate columns. Example: portable-nn predict images.npy --out labels.npy; or, of
    several inputs and outputs: portable-nn predict inputs.npz -m model.onnx --outputs --out results
    """
    if scheduler and (out is None or out.suffix != ".zarr"):
        raise typer.BadParameter("a cluster writes to a zarr array: give --out labels.zarr, for instance")
    if scheduler and (batch_size or workers):
        raise typer.BadParameter("a cluster has workers of its own, and takes blocks: give --block-size alone")
    if as_json and out is not None:
        raise typer.BadParameter("--json is printed, and --out a file of another format: leave one out")
    net = load(model, given)
    check_out(out, net, [Path(data), Path(model)], force=force)
    if not (outputs or as_json):
        check_means_labels(net, given)
    source = opened(data, array, net)
    with ExitStack() as stack, going_on(out):
        total, client, what = number_of_samples(source), None, "samples"
        if scheduler:
            logging.disable()  # what Dask says of connections and workers is said here, in one line
            client = stack.enter_context(connected(scheduler))
            what = f"samples {dashboard(client)}"
        progress = stack.enter_context(progress_bar(what, total))
        infer = partial(
            pnn.infer,
            net,
            source,
            backend=backend,
            batch_size=batch_size,
            workers=workers,
            client=client,
            out=out,
            block=block_size,
            overwrite=force,
            progress=progress,
        )
        if as_json:
            labels = None if without_labels(net.layers, net.meaning, net.output_shape) else infer()
            values = infer(outputs=True) if outputs or labels is None else None
        else:
            found = infer(outputs=outputs)
    if as_json:
        print(document(net, source, labels, values, model=model, data=data))
        return
    if out is not None:
        each_of = f" of each of {', '.join(found)}" if isinstance(found, dict) else ""
        kind = "rows of outputs" if outputs else "labels"
        print(f"{total} {kind}{each_of} written to {os.fspath(out)}")
        return
    files = names_of(source)
    if outputs and (names := columns_of(net, found)):
        print(*(["file"] if files else []), *names, sep="\t")
    for i, row in enumerate(zip(*found.values(), strict=True) if isinstance(found, dict) else found):
        words = chain.from_iterable(map(np.ravel, row)) if isinstance(found, dict) else np.ravel(row)
        print(*([one_line(files[i])] if files else []), *(words if outputs else [in_words(net, row)]), sep="\t")


def check_out(out: Path | None, net: pnn.Network, inputs: list[Path], *, force: bool) -> None:
    """Refuse, before there is work to lose, what results cannot be written to."""
    files = () if out is None else files_of(out, net.passes.outputs).values()
    check_outputs([out], inputs, force=force, files=files)


def opened(data: str, array: str | None, net: pnn.Network) -> Source | dict[str, Source]:
    """The samples of files; of a network of several inputs, those of each by name."""
    inputs = net.passes.inputs
    if len(inputs) < 2:
        try:
            return source_of(data, array=array, inputs=net.meaning.inputs)
        except pnn.FormatError as error:
            if NAME_THEM not in str(error):
                raise
            raise pnn.FormatError(f"{error}, or say which they are, --array NAME") from error
    if array is not None:
        raise typer.BadParameter(
            f"--array names one array, and the network takes {', '.join(inputs)}: leave it out"
        )
    found: dict[str, Source] = opened_parts(data, inputs)
    return found


def names_of(source: Source | dict[str, Source]) -> list[str] | None:
    """The name of each sample, where each has a file of its own."""
    return source.names if isinstance(source, Source) else None


def columns_of(net: pnn.Network, found: Any) -> list[str] | None:
    """The names of columns of outputs; None where they have none."""
    if not isinstance(found, dict):
        return column_names(net, found.shape[-1])
    widths = {one_line(name): prod(rows.shape[1:]) for name, rows in found.items()}
    return [name if n == 1 else f"{name}[{i}]" for name, n in widths.items() for i in range(n)]


def class_names(net: pnn.Network) -> tuple[str, ...] | None:
    """The names of classes, by index; None where classes are integers, which labels are then."""
    return tuple(map(str, net.classes)) if net.classes and isinstance(net.classes[0], str) else None


def in_words(net: pnn.Network, label: Any) -> str:
    """A label, or the several of a sample, as a line shows it: names where classes have some."""
    if net.task != "multilabel":
        return one_line(class_name(int(label), class_names(net)))
    if net.classes is None:
        return "\t".join(map(str, label))
    return ", ".join(one_line(name) for name, holds in zip(net.classes, label, strict=True) if holds)


def document(
    net: pnn.Network,
    source: Source | dict[str, Source],
    labels: NumPyArray | None,
    outputs: Any,
    *,
    model: str,
    data: str,
) -> str:
    """What is known of samples, as JSON; all keys are always there, null for what there is not.

    Labels are as `net.predict` gives them; of several at once, a 0 or 1 for each output. Several outputs are an
    object, by name. No number is nan or infinite: that is null too.
    """
    names, found = class_names(net), None
    if labels is not None and names is not None:
        found = [
            [name for name, holds in zip(names, label, strict=True) if holds]
            if net.task == "multilabel"
            else names[label]
            for label in labels.tolist()
        ]
    record = {
        "model": model,
        "data": data,
        "samples": number_of_samples(source),
        "files": names_of(source),
        "classes": net.classes,
        "labels": None if labels is None else labels.tolist(),
        "names": found,
        "output_names": net.outputs,
        "outputs": None if outputs is None else each(finite, outputs),
    }
    return json.dumps(record, allow_nan=False)


@contextmanager
def going_on(out: Path | None) -> Iterator[None]:
    """An interrupt says whether the work can be gone on with."""
    try:
        yield
    except KeyboardInterrupt as error:
        if out is None:
            raise
        raise type(error)(*error.args, "; the same command goes on with what is done") from error


def finite(values: NumPyArray) -> list[Any]:
    """Numbers as JSON knows them."""
    found = values.astype(object)
    found[~np.isfinite(values)] = None
    return found.tolist()  # type: ignore[no-any-return]
