"""The same network on every array library that is here: whether answers agree, and which is fastest.

Run with `python examples/compare_backends.py`, or name some: `... compare_backends.py numpy torch:cpu`. It leaves
comparison.html in the current folder.
"""

import sys
from pathlib import Path

from rich.console import Console

import portable_nn as pnn
from portable_nn.report.page import html
from portable_nn.report.table import table
from portable_nn.report.words import sentences


def main() -> None:
    images, labels = pnn.datasets.mnist("test")
    found = pnn.compare(pnn.load("mnist"), images, labels, model="mnist", backends=sys.argv[1:] or None)
    console = Console(markup=False)
    console.print(table(found, console.width))
    for sentence in sentences(found):
        console.print(sentence)
    Path("comparison.html").write_text(html(found, images), encoding="utf-8")


if __name__ == "__main__":
    main()
