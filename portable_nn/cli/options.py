"""What several commands share: options, and modules of an extra."""

import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperCommand

import portable_nn as pnn
from portable_nn.labels import check_labels
from portable_nn.writing import check_output

STDERR = 2  # file descriptor

OUTPUTS = "--outputs"
"""The option of predict that gives outputs."""


class Command(TyperCommand):
    """A command that refuses what it would not use: an option given again, a name that follows none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        if not ctx.resilient_parsing:
            _, left, order = self.make_parser(ctx).parse_args(args=list(args))
            opts = [opt for option in self.params for opt in option.opts]
            if ways := [f"{opt} {left[0]}" for opt in ("--model", "--data") if left and opt in opts]:
                raise typer.BadParameter(f"{left[0]} follows no option: give {' or '.join(ways)}", ctx=ctx)
            for option in order:
                if order.count(option) > 1 and not (option.multiple or option.nargs == -1 or _is_flag(option)):
                    raise typer.BadParameter(f"{option.opts[0]} is taken once here: give one", ctx=ctx)
        return super().parse_args(ctx, args)


def _is_flag(option: Any) -> bool:
    return bool(getattr(option, "is_flag", False))


def found_here(given: str | list[str] | None) -> str | list[str] | None:
    """A spec or several: a backend of one's own is looked for in the current folder too, after other places."""
    specs = [given] if isinstance(given, str) else given or []
    if any(map(pnn.backends.is_own, specs)) and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return given


def _word(value: str) -> str:
    return value.strip(" '\"")


def _words(value: str) -> list[str]:
    return [_word(part) for part in value.strip(" ()[],").split(",")]


def _number(value: str) -> float:
    above, _, below = value.partition("/")
    return float(above) / float(below or 1)


GIVEN: dict[str, Callable[[str], Any]] = {
    "activation": _word,
    "last": _word,
    "epsilon": _number,
    "rescale": _number,
    "format": _word,
    "task": _word,
    "layers": _words,
    "sample_shape": lambda value: tuple(map(int, _words(value))),
    "classes": lambda value: _classes(_words(value)),
}
"""What `portable_nn.load` can be given besides the file, and how it is read: as in Python, or plainly."""

ASKED_FOR = re.compile(rf"""\b({"|".join(GIVEN)})=(?:["'](\w+)["'])?""")
"""How messages name what is to be given, and perhaps a word for it."""


def _classes(names: list[str]) -> list[str] | list[int]:
    """The names of classes, integers where all are."""
    return [int(name) for name in names] if all(map(INTEGER.fullmatch, names)) else names


INTEGER = re.compile(r"-?\d{1,9}")

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="mnist|book|PATH",
        help="The embedded network, the book's weights, or a model file of any format that is read.",
        autocompletion=lambda: ["mnist", "book"],
    ),
]


def specs(incomplete: str) -> list[str]:
    """How what is typed may go on: libraries; after a colon the devices of that one, which alone is imported."""
    name, colon, _ = incomplete.partition(":")
    if not colon or name not in pnn.backends.names():
        return [spec for spec in pnn.backends.names() if spec.startswith(incomplete)]
    try:
        library = pnn.backends.BACKENDS.get(name) or type(pnn.backends.get(name))
        found = [f"{name}:{device}" for device in library.devices()]
    except Exception:  # each library has errors of its own for what is not here, and a shell shows none
        return []
    return [spec for spec in found if spec.startswith(incomplete)]


BackendSpec = Annotated[
    str,
    typer.Option(
        "--backend",
        "-b",
        metavar="SPEC",
        help="A library and, after a colon, its device: torch, torch:cuda:1, cupy:0; or module:name of your own.",
        autocompletion=specs,
        callback=found_here,
    ),
]
BackendSpecs = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        "-b",
        metavar="SPEC",
        help="A library and its device, or module:name of your own; repeatable. By default all that are ready.",
        autocompletion=specs,
        callback=found_here,
    ),
]
Given = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="What the model file does not say: activation=relu, last=softmax, layers=fc1,relu,fc2,softmax, "
        "rescale=0.0039, format=book, task=regression, classes=cat,dog; repeatable.",
    ),
]

Force = Annotated[bool, typer.Option("--force", help="Write over files that exist; over what is read never.")]


def check_means_labels(
    net: pnn.Network, given: list[str] | None, instead: str = f"portable-nn predict {OUTPUTS}"
) -> None:
    """Refuse a network without labels, and say which command does without."""
    with on_the_command_line(given):
        check_labels(net.layers, net.meaning, net.output_shape, instead)


def check_outputs(
    outputs: Iterable[Path | None],
    inputs: Iterable[Path | None],
    *,
    force: bool,
    files: Collection[str] = (),
) -> None:
    """Refuse, before there is work to lose, files that cannot be written or that would destroy others.

    Parameters
    ----------
    outputs, inputs : iterable of Path or None
        None for an option that was not given.
    force : bool
        Whether files that exist may be written over, which inputs and other outputs never are.
    files : collection of str
        What is to be in outputs that are folders.
    """
    inputs, seen = tuple(inputs), set[str]()
    for file in filter(None, outputs):
        if not file.absolute().parent.is_dir():
            raise typer.BadParameter(f"{file} cannot be written: there is no folder {file.parent}")
        if os.path.realpath(file) in seen:  # which takes a link to itself as it is
            raise typer.BadParameter(f"{file} is to be written twice: name another file")
        seen.add(os.path.realpath(file))
        check_output(file, *inputs, overwrite=force, files=files)


def given_options(given: list[str] | None) -> dict[str, Any]:
    """What ``--set NAME=VALUE`` gave, as `portable_nn.load` takes it."""
    found: dict[str, Any] = {}
    for entry in given or []:
        name, equals, value = entry.partition("=")
        if not equals or name not in GIVEN:
            raise typer.BadParameter(f"--set takes NAME=VALUE with NAME one of {', '.join(GIVEN)}, got {entry!r}")
        if name in found:
            raise typer.BadParameter(f"--set gives {name} twice: leave one out")
        try:
            found[name] = GIVEN[name](value)
        except (ValueError, ZeroDivisionError) as error:
            numbers = "integers, such as 1,28,28" if name == "sample_shape" else "a number, such as 1/255"
            raise typer.BadParameter(f"--set {name} takes {numbers}, got {value!r}") from error
    return found


def load(model: str, given: list[str] | None, *, verify: bool = True) -> pnn.Network:
    """The network of ``--model``, with what ``--set`` says of it."""
    with on_the_command_line(given):
        return pnn.load(model, verify=verify, **given_options(given))


@contextmanager
def on_the_command_line(given: list[str] | None) -> Iterator[None]:
    """What an error asks for as a keyword, and was not given, is given by ``--set``."""
    try:
        yield
    except pnn.PortableNNError as error:
        asked_for = {
            name: word for name, word in ASKED_FOR.findall(str(error)) if name not in given_options(given)
        }
        if not asked_for:
            raise
        options = ", ".join(f"--set {name}={word or '…'}" for name, word in asked_for.items())
        raise type(error)(f"{error}; on the command line: {options}") from error


def report(name: str) -> ModuleType:
    """A module of `portable_nn.report`, or the pip command that it needs."""
    try:
        return import_module(f"portable_nn.report.{name}")
    except ModuleNotFoundError as error:
        raise typer.BadParameter(
            f'this needs {error.name}, which is not installed: pip install "portable-nn[plot]"'
        ) from error


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], object]]:
    """A function to call with the number done: it draws a bar on a terminal, and nothing elsewhere."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not os.isatty(STDERR)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
