"""Tables of text and of HTML: what a network and records of it show of themselves."""

from collections.abc import Mapping, Sequence
from html import escape
from math import prod
from typing import Any, TypeAlias

from portable_nn._arrays import FLOATS

__all__ = ["Rows", "html_table", "layer_table", "text_table"]

Rows: TypeAlias = list[tuple[str, ...]]
"""The header first."""

WIDEST = 60
"""Characters of the first column: what is longer is cut."""


def text_table(rows: Rows) -> str:
    """A table in which the first column stands left, and the others right.

    Examples
    --------
    >>> from portable_nn._display import text_table
    >>> print(text_table([("layer", "bytes"), ("Dense(2, 2, 'relu')", "24")]))
    layer                bytes
    Dense(2, 2, 'relu')     24
    """
    rows = [tuple(map(_cut, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def html_table(rows: Rows) -> str:
    """The same for a notebook; every cell is text, and none of it markup."""
    header, *others = ("".join(_cell(cell, i == 0) for cell in row) for i, row in enumerate(rows))
    body = "".join(f"<tr>{row}</tr>" for row in others)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"


def _cell(text: str, is_header: bool) -> str:
    tag = "th" if is_header else "td"
    return f"<{tag}>{escape(text)}</{tag}>"


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 2]} …"


def _in_words(shape: Any) -> str:
    if isinstance(shape, Mapping):
        return ", ".join(f"{name} {_in_words(each)}" for name, each in shape.items())
    return "any" if shape is None else str(shape)


def layer_table(
    layers: Sequence[Any], shapes: Sequence[Any], dtype: str, inputs: Mapping[str, Any] | None = None
) -> Rows:
    """Of each layer what a sample becomes, how many parameters there are, and how many bytes they take.

    Shapes are tuples, None where any will do, or several by name; several inputs have a row of their own.
    """
    sizes = [sum(prod(array.shape) for array in layer.arrays.values()) for layer in layers]
    width = FLOATS[dtype]
    return [
        ("layer", "output", "parameters", "bytes"),
        *([("inputs", _in_words(inputs), "", "")] if inputs else []),
        *(
            (repr(layer), _in_words(shape), str(size), str(size * width))
            for layer, shape, size in zip(layers, shapes, sizes, strict=True)
        ),
        (f"total ({dtype})", "", str(sum(sizes)), str(sum(sizes) * width)),
    ]
