"""What tests of the command line and of the package share."""

import os
import re
import sys

import pytest

MODULE = [sys.executable, "-m", "portable_nn"]

needs_the_books_weights = pytest.mark.skipif(
    not os.environ.get("PORTABLE_NN_DATA_DIR"),
    reason="the book's weights: set PORTABLE_NN_DATA_DIR to a folder with sample_weight.pkl",
)


def environment(**changes):
    """The environment without what would change how Python and rich write."""
    forcing = {"PYTHONUNBUFFERED", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "TERM"}
    return {name: value for name, value in os.environ.items() if name not in forcing} | changes


def without_speed(output):
    """The output with N for the one figure that differs from run to run."""
    return re.sub(r"[\d,]+ samples/s", "N samples/s", output)
