"""Pickles that tests write, and what is asked of those that are refused."""

import pickle
import tracemalloc

import numpy as np
import pytest

from portable_nn.errors import FormatError
from portable_nn.readers.pickles import read_arrays

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
WEIGHTS = {"W1": np.arange(6, dtype=np.float32).reshape(2, 3), "b1": np.arange(3.0)}

PYTHON_2 = (  # cPickle.dumps({"a": numpy.array([1, -1.5], "f4")}, 2) of Python 2.7
    b"\x80\x02}q\x01U\x01acnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04"
    b"(K\x01K\x02\x85cnumpy\ndtype\nq\x05U\x02f4K\x00K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
    b"K\x00tb\x89U\x08\x00\x00\x80?\x00\x00\xc0\xbftbs."
)


def writing(path):
    """Write what a test gives to one path, and give that."""

    def write(data):
        path.write_bytes(data)
        return path

    return write


def refused(path, match=None):
    """The peak of memory while the file is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=match):
            read_arrays(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def named(cases):
    return [pytest.param(case, id=name) for name, case in cases.items()]


def text(value):
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


ADMITTED = b"\x80\x04" + text("numpy") + text("dtype") + b"\x93"


class Thing:
    def __init__(self, **attributes):
        self.__dict__ |= attributes


def name_of(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


def reconstructed(shape, code, data):
    dtype = f"cnumpy\ndtype\n(V{code}\nI0\nI1\ntR(I3\nV<\nNNNI-1\nI-1\nI0\ntb"
    start = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
    return f"{start}(I1\n{shape}{dtype}I0\n".encode() + data + b"tb."
