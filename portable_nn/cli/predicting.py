"""`portable-nn predict`: label files of any length, on this machine or on a cluster."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import portable_nn as pnn
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
    gives_labels,
    load,
    progress_bar,
)
from portable_nn.clients import connected, dashboard
from portable_nn.report.words import class_name
from portable_nn.sources import Source, source_of

SUFFIXES = (".npy", ".zarr")


def predict(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A .npy, .npz, .csv or IDX file of samples along the first axis, a folder of PNG images, a zarr "
            "array, or a pattern: 'x-*.npy'.",
        ),
    ],
    model: Model = "mnist",
    backend: BackendSpec = "numpy",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Write a .npy or .zarr; the same command completes a killed one."
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
    the file in a folder. Tabs separate columns. Example: portable-nn predict images.npy --out labels.npy
    """
    if out is not None and out.suffix not in SUFFIXES:
        raise typer.BadParameter(
            f"results are written as NumPy's .npy or as .zarr: let --out end in one, got {out}"
        )
    if scheduler and (out is None or out.suffix != ".zarr"):
        raise typer.BadParameter("a cluster writes to a zarr array: give --out labels.zarr, for instance")
    if scheduler and (batch_size or workers):
        raise typer.BadParameter("a cluster has workers of its own, and takes blocks: give --block-size alone")
    if as_json and out is not None:
        raise typer.BadParameter("--json is printed, and --out a file of another format: leave one out")
    check_outputs([out], [Path(data), Path(model)], force=force)
    net = load(model, given)
    if not (outputs or as_json):
        check_means_labels(net)
    source = source_of(data, array=array, inputs=net.inputs)
    with ExitStack() as stack, going_on(out):
        total, client, what = len(source), None, "samples"
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
            labels = infer() if gives_labels(net) else None
            values = infer(outputs=True) if outputs or labels is None else None
        else:
            found = infer(outputs=outputs)
    if as_json:
        print(document(net, source, labels, values, model=model, data=data))
        return
    if out is not None:
        print(f"{found.shape[0]} {'rows of outputs' if outputs else 'labels'} written to {os.fspath(out)}")
        return
    files = source.names
    if outputs and (names := column_names(net, found.shape[-1])):
        print(*(["file"] if files else []), *names, sep="\t")
    for i, row in enumerate(found):
        words = np.ravel(row) if outputs else [in_words(net, row)]
        print(*([one_line(files[i])] if files else []), *words, sep="\t")


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
    source: Source,
    labels: NumPyArray | None,
    outputs: NumPyArray | None,
    *,
    model: str,
    data: str,
) -> str:
    """What is known of samples, as JSON; all keys are always there, null for what there is not.

    Labels are as `net.predict` gives them; of several at once, a 0 or 1 for each output. No number is nan or
    infinite: that is null too.
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
        "samples": len(source),
        "files": source.names,
        "classes": net.classes,
        "labels": None if labels is None else labels.tolist(),
        "names": found,
        "output_names": net.outputs,
        "outputs": None if outputs is None else finite(outputs),
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
