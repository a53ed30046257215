"""`portable-nn compare`: the same network on many backends."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import portable_nn as pnn
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
from portable_nn.comparison import BATCH_SIZES, SWEEP
from portable_nn.comparison.records import Comparison
from portable_nn.writing import write

DIFFERS = 1
PIPED = 160  # columns where there is no terminal


def compare(
    model: Model = "mnist",
    backend: BackendSpecs = None,
    data: Data = None,
    labels: Labels = None,
    given: Given = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            metavar="D",
            help="float16, bfloat16, float32 or float64; repeatable.",
            autocompletion=lambda: list(pnn.backends.FLOATS),
        ),
    ] = None,
    batch_size: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, help="Samples per call; repeatable.")
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Batches of 1, 2, 4 … 65,536: which backend wins from where?")
    ] = False,
    atol: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="Largest error allowed, instead of the dtype's.")
    ] = None,
    rtol: Annotated[
        float | None,
        typer.Option(metavar="X", min=0, help="More allowed, relative to the scale of outputs."),
    ] = None,
    warm_up: Annotated[int, typer.Option(metavar="N", min=0, help="Calls before the clock runs.")] = 3,
    iterations: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Calls to time; as many as fit 0.3 s, if not given.")
    ] = None,
    time_limit: Annotated[float, typer.Option(metavar="S", min=1, help="Seconds for each backend.")] = 120.0,
    in_process: Annotated[bool, typer.Option("--in-process", help="Measure all in this process.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a web page.")] = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the speeds, as .png or .svg.")
    ] = None,
    force: Force = False,
) -> int:
    """Compare backends: whether answers agree, and which is fastest.

    Each backend is measured in a process of its own, against NumPy in float64. The exit status is 1 if one
    differs or fails.

    Example: portable-nn compare --backend numpy --backend torch:cpu --html comparison.html
    """
    if sweep and batch_size:
        raise typer.BadParameter("--sweep chooses the batch sizes: leave --batch-size out")
    page = report("page") if html_file else None
    style = report("style") if plot_file else None
    if style and plot_file:
        style.check_suffix(plot_file)
    check_outputs([json_file, html_file, plot_file], [data, labels, Path(model)], force=force)
    net = load(model, given)
    samples = samples_for(net, data, labels, given)
    with progress_bars() as progress:
        found = pnn.compare(
            net,
            samples.values,
            samples.labels,
            backends=backend,
            dtypes=dtype or ["float32"],  # type: ignore[arg-type]
            batch_sizes=SWEEP if sweep else batch_size or BATCH_SIZES,
            atol=atol,
            rtol=rtol,
            warm_up=warm_up,
            iterations=iterations,
            budget=0.1 if sweep else 0.3,
            time_limit=time_limit,
            in_process=in_process,
            model=model,
            progress=progress,
        )
    show(found)
    if json_file:
        write(json_file, (report("interchange").to_json(found) + "\n").encode())
    if page and html_file:
        images = None if isinstance(samples.values, dict) else samples.values
        write(html_file, page.html(found, images).encode())
    if style and plot_file:
        style.save(report("pictures").throughput(found), plot_file)
    return 0 if found.holds else DIFFERS


def samples_for(net: pnn.Network, data: Path | None, labels: Path | None, given: list[str] | None) -> Samples:
    """The data to compare on, with labels only where the network gives some."""
    samples = read_data(data, labels, net)
    if samples.labels is not None:
        check_means_labels(net, given, "portable-nn compare with --data of samples alone")
    return samples


def show(found: Comparison) -> None:
    """Print the table, and what to take away."""
    console = Console(markup=False, highlight=False, width=None if os.isatty(1) else PIPED)
    console.print(report("table").table(found, console.width))
    console.print()
    for sentence in report("words").sentences(found):
        console.print(sentence)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, str, int, int], object]]:
    """A function to call before each step: it draws a bar for each row on a terminal, and nothing elsewhere."""
    columns = (
        TextColumn("{task.fields[row]}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[step]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not os.isatty(2)) as bars:
        tasks = {}

        def report_step(row: str, step: str, done: int, total: int) -> None:
            if row not in tasks:
                tasks[row] = bars.add_task("", total=total, row=row, step=step)
            bars.update(tasks[row], completed=done, step=step)

        yield report_step
