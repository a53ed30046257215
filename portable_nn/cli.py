"""The command line, the only place that prints."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import portable_nn as pnn

app = typer.Typer(
    help="One neural-network forward pass on the arrays of any library: evaluate it, and see what is here.",
    epilog="Start with: portable-nn evaluate",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
MISUSED = 2

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="mnist|book|PATH",
        help="The embedded network, the book's weights, or a .safetensors, .npz or .pkl file.",
        autocompletion=lambda: ["mnist", "book"],
    ),
]
BackendSpec = Annotated[
    str,
    typer.Option(
        "--backend",
        "-b",
        metavar="SPEC",
        help="A library and, after a colon, its device: torch, torch:cuda:1, cupy:0, array_api_strict:device1.",
        autocompletion=lambda: list(pnn.backends.BACKENDS),
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead, for other programs.")]


def version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        print(f"portable-nn {pnn.__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    wanted: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """One neural-network forward pass on the arrays of any library."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def evaluate(
    model: Model = "mnist",
    backend: BackendSpec = "numpy",
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", min=1, help="Images per call; 1000 if not given."),
    ] = None,
    per_sample: Annotated[bool, typer.Option("--per-sample", help="One image at a time, as vectors.")] = False,
    as_json: Json = False,
) -> None:
    """Classify the 10,000 MNIST test images and print the accuracy.

    Example: portable-nn evaluate --model book --backend torch:cpu --batch-size 100
    """
    if per_sample and batch_size is not None:
        raise typer.BadParameter("--per-sample takes images one at a time: leave --batch-size out")
    net = pnn.load(model)
    images, labels = pnn.datasets.mnist("test")
    with progress_bar("images", len(images)) as progress:
        result = pnn.evaluate(
            net,
            images,
            labels,
            backend=backend,
            batch_size=batch_size,
            per_sample=per_sample,
            progress=progress,
        )
    if as_json:
        record = {"model": model, **asdict(result), "images_per_second": result.images_per_second}
        print(json.dumps(record, indent=2))
        return
    print(f"model     {model}")
    print(f"backend   {result.backend}")
    print(f"device    {result.device}")
    print(f"dtype     {result.dtype}")
    print(f"speed     {result.images_per_second:,.0f} images/s")
    print(f"correct   {result.correct}/{result.total}")
    print(f"accuracy  {result.accuracy:.4f}")


@app.command()
def backends(as_json: Json = False) -> None:
    """List the array libraries: which are ready, which are not, and why.

    A library is ready if a small matrix product ran on one of its devices.
    """
    found = pnn.backends.status()
    if as_json:
        print(json.dumps([asdict(status) for status in found], indent=2))
        return
    colours = {"ready": "green", "no device": "yellow", "import failed": "red", "not installed": "dim"}
    table = Table("backend", "state", "version", "devices, or the reason", box=None, pad_edge=False)
    for status in found:
        table.add_row(
            status.name,
            f"[{colours[status.state]}]{status.state}[/]",
            status.version or "",
            ", ".join(status.devices) or status.reason,
        )
    Console(soft_wrap=not sys.stdout.isatty()).print(table)


@app.command()
def summary(model: Model = "mnist") -> None:
    """Print the layers of a network: shapes, parameters and bytes."""
    print(pnn.load(model).summary())


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], object]]:
    """A function to call with the number done: it draws a bar on a terminal, and nothing elsewhere."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def main() -> None:
    """Run a command; what goes wrong is one line on stderr and an exit status, never a traceback."""
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, head for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except typer.TyperException as error:
        status = failed(error.format_message())
    except (pnn.PortableNNError, OSError, MemoryError) as error:
        status = failed(str(error) or type(error).__name__)
    sys.exit(status)


def failed(message: str) -> int:
    """Say on stderr, in one line, what went wrong."""
    sys.stderr.write(f"portable-nn: {' '.join(message.split())}\n")
    return MISUSED
