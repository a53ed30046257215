"""A comparison as one web page that needs nothing beside itself, under a strict content security policy."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.image import imsave

from portable_nn._typing import NumPyArray
from portable_nn.comparison.records import Comparison
from portable_nn.errors import ShapeError
from portable_nn.report import pictures
from portable_nn.report.columns import columns
from portable_nn.report.style import svg
from portable_nn.report.words import class_name, many, name, sentences, share

__all__ = ["html"]

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Picture:
    """A figure on light and on dark paper, as data URLs, with the words that stand for it."""

    title: str
    alternative: str
    shape: str
    light: str
    dark: str


def html(comparison: Comparison, images: NumPyArray | None = None) -> str:
    """Write a comparison as a web page.

    Parameters
    ----------
    comparison : Comparison
    images : array, optional
        The images compared on: those a backend disagrees on are shown, if they are square.

    Returns
    -------
    str

    Examples
    --------
    >>> import portable_nn as pnn
    >>> from portable_nn.report.page import html
    >>> images, labels = pnn.datasets.mnist("test")
    >>> found = pnn.compare(pnn.load("mnist"), images[:100], labels[:100], backends=["numpy"], batch_sizes=[10])
    >>> html(found, images).splitlines()[0]
    '<!doctype html>'
    """
    css, js = (HERE.joinpath(f"page.{suffix}").read_text(encoding="utf-8") for suffix in ("css", "js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(css)}; script-src {_hash(js)}; "
        "base-uri 'none'; form-action 'none'"
    )
    template = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    return template.get_template("page.html").render(
        comparison=comparison,
        backends=many(len({row.backend for row in comparison.rows}), "backend"),
        class_name=partial(class_name, classes=comparison.classes),
        columns=[column for column in columns(comparison) if any(map(column.cell, comparison.rows))],
        css=Markup(css),  # noqa: S704 (our own file)
        digits={} if images is None else _digits(comparison, images),
        environment=list(_environment(comparison)),
        js=Markup(js),  # noqa: S704 (our own file)
        name=partial(name, comparison),
        pictures=list(_pictures(comparison)),
        policy=policy,
        sentences=list(sentences(comparison)),
    )


def _hash(text: str) -> str:
    """The source expression that allows exactly this inline text."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _data_url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(data).decode()}"


def _pictures(comparison: Comparison) -> Iterator[Picture]:
    measured = [row for row in comparison.rows if row.measured is not None and row.parity is not None]
    if measured:
        names = ", ".join(name(comparison, row) for row in measured)
        yield _picture(
            "Speed",
            f"Samples per second against the batch size, on logarithmic axes, one line each for {names}.",
            partial(pictures.throughput, comparison),
        )
        largest = ", ".join(
            f"{name(comparison, row)} {row.parity.max_abs_error:.1e}" for row in measured if row.parity
        )
        yield _picture(
            "Errors",
            f"The share of samples within each error, one line for each row. The largest errors: {largest}.",
            partial(pictures.errors, comparison),
        )
    for row in measured:
        if row.labels is not None and row.labels.confusion is not None:
            counts = np.asarray(row.labels.confusion)
            off = counts - np.diag(np.diag(counts))
            true, read = (
                class_name(int(i), comparison.classes) for i in np.unravel_index(off.argmax(), off.shape)
            )
            yield _picture(
                f"Labels of {name(comparison, row)}",
                f"Table of true against predicted labels: {share(int(counts.trace()), int(counts.sum()))} right; "
                f"most often confused: {true} read as {read}, {many(int(off.max()), 'time')}.",
                partial(pictures.confusion, counts, comparison.classes),
            )
            return


def _picture(title: str, alternative: str, draw: Callable[..., Figure]) -> Picture:
    light, dark = draw(dark=False), draw(dark=True)
    shape = "wide" if light.get_figwidth() > 1.5 * light.get_figheight() else "square"
    return Picture(
        title, alternative, shape, *(_data_url("svg+xml", svg(figure).encode()) for figure in (light, dark))
    )


def _digits(comparison: Comparison, images: NumPyArray) -> dict[int, str]:
    """The images that a row disagrees on, as data URLs by index; none if they are no square images."""
    wanted = {
        found.index for row in comparison.rows if row.labels is not None for found in row.labels.disagreements
    }
    try:
        samples = images.reshape(comparison.samples, -1)
        return {i: _data_url("png", _png(pictures.square(samples[i]))) for i in sorted(wanted)}
    except ShapeError:
        return {}


def _png(image: NumPyArray) -> bytes:
    file = BytesIO()
    imsave(file, image, cmap="gray_r", format="png")
    return file.getvalue()


def _environment(comparison: Comparison) -> Iterator[tuple[str, str]]:
    found = comparison.environment
    yield "date", found.date
    yield "python", found.python
    yield "platform", found.platform
    yield "processor", f"{found.cpu}, {many(found.cores, 'core')}"
    if found.load is not None:
        yield "load before", f"{found.load:.1f}"
    yield from found.versions.items()
    yield from found.settings.items()
    for row in comparison.rows:
        if row.measured is not None and row.measured.threads:
            yield f"threads of {name(comparison, row)}", ", ".join(row.measured.threads)
