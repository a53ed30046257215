""".npz archives: NumPy is the oracle, damaged archives and bombs the adversary."""

import io
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.errors import FormatError
from portable_nn.readers import buffers
from portable_nn.readers.npz import read_arrays

ARRAYS = {"W1": np.eye(2, 3), "b1": np.zeros(3), "W2": np.ones((3, 2)), "b2": np.ones(2)}


def npz(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def archive(compression=zipfile.ZIP_DEFLATED, **members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as writer:
        for name, content in members.items():
            writer.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(descr, shape, content=b""):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + content


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    path = tmp_path_factory.mktemp("npz") / "arrays.npz"

    def written(data):
        path.write_bytes(data)
        return path

    return written


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_round_trip(write, save, dtype, order):
    arrays = {name: np.asarray(array, dtype, order=order) for name, array in ARRAYS.items()}
    path = write(npz(save, **arrays))
    ours = read_arrays(path)
    with np.load(path) as theirs:
        assert ours.keys() == set(theirs)
        for name, array in ours.items():
            assert array.dtype == np.dtype(dtype).newbyteorder("=")
            np.testing.assert_array_equal(array, theirs[name])


def test_version_2_of_npy(write):
    file = io.BytesIO()
    np.lib.format.write_array(file, ARRAYS["W1"], version=(2, 0))
    np.testing.assert_array_equal(read_arrays(write(archive(W1=file.getvalue())))["W1"], ARRAYS["W1"])


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "not an .npz of arrays"),
        (npz(W1=np.array([{}])), "dtype 'O'"),
        (npz(W1=np.zeros(2, "f4,i4")), "dtype 'V8'"),
        (npz(W1=np.zeros(2, complex)), "dtype 'c16'"),
        (archive(W1=b"not npy at all"), "magic string"),
        (archive(W1=npy("<f8", (2**40,))), r"W1.npy: an array of shape \(1099511627776,\) .* takes"),
        (archive(W1=npy("<f8", (2,), bytes(17))), "takes 16 bytes, 17 came"),
        (archive(W1=npy("<f8", (-1, -2), bytes(16))), "not one of at most 64 lengths"),
        (archive(zipfile.ZIP_LZMA, W1=npy("<f8", (2,), bytes(16))), "W1.npy is compressed in a way"),
        (archive(zipfile.ZIP_BZIP2, W1=npy("<f8", (2,), bytes(16))), "compressed in a way"),
    ],
)  # fmt: skip
def test_refusals_say_why(write, data, match):
    with pytest.raises(FormatError, match=match):
        read_arrays(write(data))


def refused(path, match):
    """The peak of memory while the file is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=match):
            read_arrays(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_bombs(write, monkeypatch):
    zeros = bytes(20_000_000)
    bomb = archive(W1=npy("<f8", (2_500_000,), zeros))
    lying = bytearray(archive(W1=npy("|u1", (5,), zeros)))
    honest = (len(npy("|u1", (5,))) + len(zeros)).to_bytes(4, "little")
    lying = lying.replace(honest, (len(npy("|u1", (5,))) + 5).to_bytes(4, "little"))
    monkeypatch.setattr(buffers, "MAX_EXTRA", 10_000_000)
    assert refused(write(bomb), "the most for its length") < 1_000_000
    assert refused(write(lying), "not an .npz of arrays") < 1_000_000


@given(data=st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes(write, data):
    with pytest.raises(FormatError):
        read_arrays(write(data))


@given(
    header=st.text(st.characters(codec="latin1"), max_size=60) | st.sampled_from(["-" * 9000 + "1", "(" * 9000])
)
@settings(deadline=None)
def test_any_header(write, header):
    data = header.encode("latin1")
    with pytest.raises(FormatError):
        read_arrays(write(archive(W1=b"\x93NUMPY\1\0" + len(data).to_bytes(2, "little") + data)))


@given(start=st.integers(0), length=st.integers(0, 4), new=st.binary(max_size=4))
@settings(deadline=None, max_examples=300)
def test_damage(write, start, length, new):
    data = npz(W1=np.eye(2), b1=np.zeros(2))
    start %= len(data)
    with suppress(FormatError):
        arrays = read_arrays(write(data[:start] + new + data[start + length :]))
        assert all(array.dtype.kind in "fiu" for array in arrays.values())


def test_what_the_system_refuses(tmp_path):
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        read_arrays(tmp_path / "none.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        read_arrays(tmp_path / "folder.npz")
