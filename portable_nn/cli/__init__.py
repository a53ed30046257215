"""The command line, the only place that prints."""

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

import portable_nn as pnn
from portable_nn._arrays import each
from portable_nn.cli.comparing import compare
from portable_nn.cli.data import Data, Labels, read_data
from portable_nn.cli.files import convert, inspect, verify
from portable_nn.cli.options import BackendSpec, Command, Given, Model, check_means_labels, load, progress_bar
from portable_nn.cli.plotting import plot
from portable_nn.cli.predicting import predict
from portable_nn.explanation import explain


class HiddenError(BaseException):
    """An interrupt, which typer would take for an exit of the command."""


class Commands(TyperGroup):
    """Commands that can be interrupted."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the command line."""
        with hidden():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was given."""
        with hidden():
            return super().invoke(ctx)


@contextmanager
def hidden() -> Iterator[None]:
    """An interrupt that typer does not see."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise HiddenError from error


app: typer.Typer = typer.Typer(
    cls=Commands,
    help="One neural-network forward pass on the arrays of any library: evaluate it, and see what is here.",
    epilog="Start with: portable-nn evaluate",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

STDOUT = 1  # file descriptor
UNWRAPPED = 10_000  # columns, for lines that a program reads

READER_GONE = 1  # head, for instance, has seen enough
MISUSED = 2

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


@app.command(cls=Command)
def evaluate(
    model: Model = "mnist",
    backend: BackendSpec = "numpy",
    data: Data = None,
    labels: Labels = None,
    given: Given = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", metavar="N", min=1, help="Samples per call; as many as suit the device if not given."
        ),
    ] = None,
    per_sample: Annotated[bool, typer.Option("--per-sample", help="One sample at a time, as vectors.")] = False,
    explained: Annotated[
        bool, typer.Option("--explain", help="Say what a first call moves, casts and copies.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the accuracy on the MNIST test images, or on --data.

    Example: portable-nn evaluate --model book --backend torch:cpu --batch-size 100; or, with a column named
    label: portable-nn evaluate --model iris.joblib --data iris.csv
    """
    if explained and as_json:
        raise typer.BadParameter("--explain is in words: leave --json out")
    if per_sample and batch_size is not None:
        raise typer.BadParameter("--per-sample takes samples one at a time: leave --batch-size out")
    net = load(model, given)
    check_means_labels(net, given)
    samples = read_data(data, labels, net)
    with progress_bar(samples.noun, len(samples)) as progress:
        result = pnn.evaluate(
            net,
            samples.values,
            samples.of_labels(),
            backend=backend,
            batch_size=batch_size,
            per_sample=per_sample,
            progress=progress,
        )
    if as_json:
        record = {"model": model, **asdict(result), "images_per_second": result.images_per_second}
        print(json.dumps(record, indent=2))
        return
    print(f"model     {model}\n{result}")
    if explained:
        one = each(lambda array: pnn.backends.get(backend).place(array[:1]), samples.values)
        print(f"\n{explain(load(model, given), one)}")


@app.command(cls=Command)
def backends(as_json: Json = False) -> None:
    """List the array libraries: ready or not, and why.

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
            Text(status.state, style=colours[status.state]),
            status.version or "",
            ", ".join(status.devices) or status.reason,
        )
    width = None if os.isatty(STDOUT) else UNWRAPPED
    Console(markup=False, width=width).print(table)  # no markup: a reason may hold brackets


app.command(cls=Command)(compare)
app.command(cls=Command)(plot)
app.command(cls=Command)(predict)
app.command(cls=Command)(convert)
app.command(cls=Command)(inspect)
app.command(cls=Command)(verify)


@app.command(cls=Command)
def summary(model: Model = "mnist", given: Given = None) -> None:
    """Print the layers of a network: shapes, parameters and bytes."""
    print(load(model, given).summary())


def main() -> int | None:
    """Run a command; what goes wrong is one line on stderr and an exit status, never a traceback.

    Returns
    -------
    int or None
        The exit status.

    Raises
    ------
    KeyboardInterrupt
        If it is interrupted.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warned
            status: int | None = app(prog_name="portable-nn", standalone_mode=False)
        print(end="", flush=True)
    except HiddenError as error:
        raise (error.__cause__ or error) from None
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f"; see {context.command_path} --help" if context else ""
        status = failed(error.format_message().rstrip(".") + hint)
    except OSError as error:
        discard_output()
        status = READER_GONE if isinstance(error, BrokenPipeError) else failed(str(error))
    except (pnn.PortableNNError, MemoryError) as error:
        status = failed(str(error) or type(error).__name__)
    return status


def warned(message: Warning | str, *_: object, **__: object) -> None:
    """Say on stderr, in one line, what is doubtful."""
    sys.stderr.write(f"portable-nn: warning: {' '.join(str(message).split())}\n")


def discard_output() -> None:
    """Let what is still in the buffer go nowhere: it could not be written, and would fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)


def failed(message: str) -> int:
    """Say on stderr, in one line, what went wrong."""
    sys.stderr.write(f"portable-nn: {' '.join(message.split())}\n")
    return MISUSED
