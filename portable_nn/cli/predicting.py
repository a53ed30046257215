"""`portable-nn predict`: label files of any length, on this machine or on a cluster."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import portable_nn as pnn
from portable_nn.cli.options import BackendSpec, Force, Model, check_means_labels, check_outputs, progress_bar
from portable_nn.cluster import connected, dashboard
from portable_nn.sources import opened

SUFFIXES = (".npy", ".zarr")


def predict(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A .npy or IDX file of samples along the first axis, a zarr array, or a pattern: 'x-*.npy'.",
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
            "--outputs",
            "--probabilities",
            help="Give the network's outputs instead of labels: probabilities, or the values of a regression.",
        ),
    ] = False,
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

    Without --out, one line for each sample. Example: portable-nn predict images.npy --out labels.npy
    """
    if out is not None and out.suffix not in SUFFIXES:
        raise typer.BadParameter(
            f"results are written as NumPy's .npy or as .zarr: let --out end in one, got {out}"
        )
    if scheduler and (out is None or out.suffix != ".zarr"):
        raise typer.BadParameter("a cluster writes to a zarr array: give --out labels.zarr, for instance")
    if scheduler and (batch_size or workers):
        raise typer.BadParameter("a cluster has workers of its own, and takes blocks: give --block-size alone")
    check_outputs([out], [Path(data), Path(model)], force=force)
    net = pnn.load(model)
    if not outputs:
        check_means_labels(net)
    with going_on(out), ExitStack() as stack:
        total, client, what = len(opened(data)), None, "samples"
        if scheduler:
            logging.disable()  # what Dask says of connections and workers is said here, in one line
            client = stack.enter_context(connected(scheduler))
            what = f"samples {dashboard(client)}"
        progress = stack.enter_context(progress_bar(what, total))
        found = pnn.infer(
            net,
            data,
            backend=backend,
            batch_size=batch_size,
            workers=workers,
            client=client,
            outputs=outputs,
            out=out,
            block=block_size,
            overwrite=force,
            progress=progress,
        )
    if out is not None:
        print(f"{found.shape[0]} {'rows of outputs' if outputs else 'labels'} written to {os.fspath(out)}")
        return
    for row in found:
        print(*np.atleast_1d(row))


@contextmanager
def going_on(out: Path | None) -> Iterator[None]:
    """An interrupt says whether the work can be gone on with."""
    try:
        yield
    except KeyboardInterrupt as error:
        if out is None:
            raise
        raise type(error)(*error.args, "; the same command goes on with what is done") from error
