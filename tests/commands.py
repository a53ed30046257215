"""What tests of the command line as a process share."""

import os
import re
import sys

MODULE = [sys.executable, "-m", "portable_nn"]


def environment(**changes):
    """The environment without what would change how Python and rich write."""
    forcing = {"PYTHONUNBUFFERED", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "TERM"}
    return {name: value for name, value in os.environ.items() if name not in forcing} | changes


def without_speed(output):
    """The output with N for the one figure that differs from run to run."""
    return re.sub(r"[\d,]+ images/s", "N images/s", output)
