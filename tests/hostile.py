"""Loads mutants of the files in a folder, and says in JSON what came of it; a program.

    python -W error tests/hostile.py FOLDER COUNT SEED

It watches itself: an audit hook sees what is opened, imported and run; the process may take no more memory than a
file is allowed to; and each call of a function counts as work. Anything but a network, or an array of data, or an
error of this package is a failure, told with the number that makes the same mutant again.
"""

import codecs
import json
import pathlib
import random
import resource
import sys
import tempfile
import traceback
from collections import Counter
from contextlib import contextmanager
from math import prod

import numpy as np
from genuine import OPTIONS
from mutants import mutant

import portable_nn as pnn
from portable_nn.sources import opened

EXTRA = 2**26
"""Bytes of memory that a file may take besides its size."""

HEAP = 2**24  # what the interpreter takes in pieces, and gives back late
QUIET = {"array.__new__", "builtins.id", "compile", "mmap.__new__", "object.__getattr__"}
"""What readers and the forward pass do; NumPy has headers parsed, and `exec` would have to follow to run them."""
CODECS = "raw-unicode-escape", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"
"""Of the texts of old pickles, and what JSON in bytes may be in: Python imports them when they are needed."""

FRAMEWORKS = {"h5py", "joblib", "keras", "onnx", "sklearn", "tensorflow", "torch"}


def attempt(path, options):
    """Load a file and use what is in it."""
    if path.name.startswith("data"):
        np.asarray(opened(path)[:1])
        return
    net = pnn.load(path, **options)
    shape = net.input_shape or (3,)
    if prod(shape) <= 1e6:
        with np.errstate(all="ignore"):  # damaged weights overflow
            net(np.zeros((2, *shape)))


class Watch:
    """What happens while it is on, besides the opening of one file."""

    def __init__(self, path):
        self.path, self.on, self.calls, self.seen = str(path), False, 0, []
        sys.addaudithook(self.audit)

    def audit(self, event, args):
        if self.on and event not in QUIET and not (event == "open" and str(args[0]) == self.path):
            self.seen.append(f"{event} {args!r:.200}")

    def count(self, frame, event, arg):
        self.calls += event in ("call", "c_call")

    def __enter__(self):
        self.calls, self.seen = 0, []
        sys.setprofile(self.count)
        self.on = True

    def __exit__(self, *_):
        self.on = False
        sys.setprofile(None)


def memory():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


@contextmanager
def limited(size):
    """No more memory than that; it ends in a MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def main(folder, count, seed):
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    for name in files:
        attempt(folder / name, OPTIONS.get(name, {}))  # what is imported only where it is needed is here then
    for name in CODECS:
        codecs.lookup(name)
    report = {"loaded": Counter(), "refused": Counter(), "failures": [], "most": 0.0}
    with tempfile.TemporaryDirectory() as place:
        watches = {name: Watch(pathlib.Path(place, name)) for name in files}
        most = memory() + EXTRA + HEAP
        names = list(files)
        for number in range(seed, seed + count):
            rng = random.Random(number)
            name = names[number % len(names)]
            data = mutant(files[name], files[rng.choice(names)], rng)
            path, watch = pathlib.Path(place, name), watches[name]
            path.write_bytes(data)
            try:
                with limited(most + len(data)), watch:
                    attempt(path, OPTIONS.get(name, {}))
                report["loaded"][name] += 1
            except pnn.PortableNNError:
                report["refused"][name] += 1
            except BaseException:
                report["failures"].append(f"{name}, number {number}: {traceback.format_exc()}")
            report["failures"] += [f"{name}, number {number}: {event}" for event in watch.seen]
            report["most"] = max(report["most"], watch.calls / (10_000 + len(data)))
    report["imported"] = sorted(FRAMEWORKS & set(sys.modules))
    print(json.dumps(report))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))
