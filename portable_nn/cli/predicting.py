"""`portable-nn predict`: label files of any length."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import portable_nn as pnn
from portable_nn.cli.options import BackendSpec, Force, Model, check_outputs, progress_bar
from portable_nn.sources import opened


def predict(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A .npy or IDX file with samples along its first axis.")
    ],
    model: Model = "mnist",
    backend: BackendSpec = "numpy",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Write a .npy file; the same command completes a killed one."
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Give the network's outputs instead of labels.")
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", min=1, help="Samples per call; as many as suit if not given."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Threads on NumPy; one for each core.")
    ] = None,
    force: Force = False,
) -> None:
    """Label the samples of a file, however long, in bounded memory.

    Without --out, one line for each sample. Example: portable-nn predict images.npy --out labels.npy
    """
    if out is not None and out.suffix != ".npy":
        raise typer.BadParameter(f"results are written as NumPy's .npy: let --out end in it, got {out}")
    check_outputs([out], [data, Path(model)], force=force)
    net = pnn.load(model)
    with progress_bar("samples", len(opened(data))) as progress:
        found = pnn.infer(
            net,
            data,
            backend=backend,
            batch_size=batch_size,
            workers=workers,
            outputs=probabilities,
            out=out,
            overwrite=force,
            progress=progress,
        )
    if out is not None:
        print(f"{len(found)} {'rows of outputs' if probabilities else 'labels'} written to {out}")
        return
    for row in found:
        print(*np.atleast_1d(row))
