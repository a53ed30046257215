"""HDF5: h5py is the oracle; what it would follow, open or loop over is the adversary."""

import io
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.errors import FormatError
from portable_nn.readers.hdf5 import open_hdf5

h5py = pytest.importorskip("h5py", reason="the oracle is h5py: pip install h5py")

VERSIONS = ["earliest", ("v108", "v108"), ("v110", "v110"), "latest"]
"""Of the format: symbol tables, then link messages and fractal heaps."""


def written(fill, libver="earliest", **options):
    """The bytes of a file that `fill` fills."""
    data = io.BytesIO()
    with h5py.File(data, "w", libver=libver, **options) as file:
        fill(file)
    return data.getvalue()


def filled(values):
    def fill(file):
        for path, value in values.items():
            file[path] = value

    return fill


def low_level(path, shape, dtype="<f8", layout=None, values=None, **properties):
    """A fill that makes a data set with properties which h5py's own face does not offer."""

    def fill(file):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if layout is not None:
            plist.set_layout(layout)
        for name, arguments in properties.items():
            getattr(plist, name)(*arguments)
        kind = h5py.h5t.py_create(np.dtype(dtype))
        data = h5py.h5d.create(file.id, path.encode(), kind, h5py.h5s.create_simple(shape), dcpl=plist)
        if values is not None:
            data.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(values))

    return fill


@pytest.mark.parametrize("libver", VERSIONS, ids=str)
@pytest.mark.parametrize("count", [1, 8, 9, 45, 46, 1200])
def test_groups_of_any_size(libver, count):
    names = [f"layer_{i}" for i in range(count)]
    with open_hdf5(
        written(filled({f"layers/{name}/vars/0": [i] for i, name in enumerate(names)}), libver)
    ) as file:
        assert file.arrays("layers") == sorted(f"{name}/vars/0" for name in names)
        assert [int(file.array(f"layers/{name}/vars/0")[0]) for name in names] == list(range(count))


@pytest.mark.parametrize("libver", VERSIONS, ids=str)
@pytest.mark.parametrize("length", [255, 256, 60_000])
def test_names_of_any_length(libver, length):
    name = "n" * length
    with open_hdf5(written(filled({f"{name}/b": [1.5]}), libver)) as file:
        assert file.arrays(name) == ["b"]


@pytest.mark.parametrize("libver", VERSIONS, ids=str)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4)])
def test_numbers(libver, order, kind, shape):
    values = np.random.default_rng(0).normal(0, 50, shape).astype(order + kind)
    with open_hdf5(written(filled({"a/b": values}), libver)) as file:
        found = file.array("a/b")
    assert found.dtype == np.dtype(kind)
    np.testing.assert_array_equal(found, values)


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    values = np.linspace(-3, 3, 12).reshape(3, 4).astype(ml_dtypes.bfloat16)
    with open_hdf5(written(filled({"kernel": values}))) as file:
        np.testing.assert_array_equal(file.array("kernel"), values.astype(np.float32))


def test_compact_values():
    values = np.arange(6.0).reshape(2, 3)
    with open_hdf5(written(low_level("a", (2, 3), layout=h5py.h5d.COMPACT, values=values))) as file:
        np.testing.assert_array_equal(file.array("a"), values)


@pytest.mark.parametrize("libver", VERSIONS, ids=str)
@pytest.mark.parametrize("more", [0, 40])
@pytest.mark.parametrize("text", ["", "2.4.0", "Schicht – слой", "x" * 300_000], ids=len)
def test_texts(libver, more, text):
    """Of variable length and, where an attribute can hold them, fixed; among few and many others."""

    def fill(file):
        group = file.create_group("group")
        for i in range(more):
            group.attrs[f"other {i}"] = "x" * i
        group.attrs["variable"] = text
        group.attrs["bytes"] = text.encode()
        if 0 < len(text) < 1000:
            group.attrs["fixed"] = np.bytes_(text.encode())
        file["group/array"] = [1]
        file["group/array"].attrs["dtype"] = text

    with open_hdf5(written(fill, libver)) as file:
        assert file.text("group", "variable") == file.text("group", "bytes") == text
        assert file.text("group", "fixed") == (text if 0 < len(text) < 1000 else None)
        assert file.text("group/array", "dtype") == text
        assert file.text("", "variable") is None
        assert all(file.text("group", f"other {i}") == "x" * i for i in range(more))


names = st.text(st.characters(codec="utf-8", exclude_characters="/.\0"), min_size=1, max_size=5)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
arrays = st.lists(st.floats(width=32, allow_nan=False), max_size=4).map(lambda x: np.array(x, np.float32))


@given(values=st.dictionaries(paths, arrays, max_size=20), libver=st.sampled_from(VERSIONS))
@settings(deadline=None, max_examples=200)
def test_any_file_of_h5py(values, libver):
    kept = {}
    for path, value in values.items():
        if not any(
            path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in kept
        ):
            kept[path] = value
    with open_hdf5(written(filled(kept), libver)) as file:
        assert file.arrays("") == sorted(kept)
        for path, value in kept.items():
            np.testing.assert_array_equal(file.array(path), value)


def linked(target):
    def fill(file):
        file["a/b"] = [1.0]
        file["a/link"] = target

    return fill


@pytest.mark.parametrize("libver", VERSIONS, ids=str)
@pytest.mark.parametrize("target", ["soft", "external"])
def test_links_to_elsewhere(tmp_path, libver, target):
    (tmp_path / "other.h5").write_bytes(written(filled({"a/b": [2.0]})))
    link = h5py.SoftLink("/a") if target == "soft" else h5py.ExternalLink(str(tmp_path / "other.h5"), "/a")
    with open_hdf5(written(linked(link), libver), "model.h5") as file:
        for ask in (file.array, file.arrays, lambda path: file.text(path, "name")):
            for path in ("a/link", "a/link/b"):
                with pytest.raises(FormatError, match=r"model\.h5: .*'link' is a link to elsewhere"):
                    ask(path)
        with pytest.raises(FormatError, match="'link' is a link"):
            file.arrays("a")
        assert file.array("a/b") == [1]


def virtual(file):
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8", maxshape=(None,))
    layout[:] = h5py.VirtualSource("/etc/other.h5", "a", shape=(4,), maxshape=(None,))
    file.create_virtual_dataset("x", layout)


UNUSUAL = {
    "chunks": (lambda file: file.create_dataset("x", data=np.ones(4), chunks=(2,)), "not in one piece"),
    "gzip": (lambda file: file.create_dataset("x", data=np.ones(4), compression="gzip"), "filtered"),
    "a bomb": (lambda file: file.create_dataset("x", (2**40,), "f8", chunks=(2**20,)), "not in one piece"),
    "another file": (low_level("x", (4,), set_external=(b"/etc/passwd", 0, 32)), "in another file"),
    "virtual": (virtual, "not in one piece"),
    "never written": (low_level("x", (2**40,)), "it ends before|takes"),
    "complex": (filled({"x": np.ones(2, complex)}), "no numbers"),
    "booleans": (filled({"x": np.ones(2, bool)}), "no numbers"),
    "strings": (filled({"x": ["a", "b"]}), "no numbers"),
    "records": (filled({"x": np.ones(2, "f4,i4")}), "no numbers"),
    "long doubles": (filled({"x": np.ones(2, np.longdouble)}), "no numbers"),
    "opaque": (filled({"x": np.zeros(2, "V8")}), "no numbers"),
    "references": (lambda file: file.create_dataset("x", data=[file.ref], dtype=h5py.ref_dtype), "no numbers"),
    "regions": (lambda file: file.create_dataset("x", (1,), h5py.regionref_dtype), "no numbers"),
    "lists": (lambda file: file.create_dataset("x", (1,), h5py.vlen_dtype("f8")), "no numbers"),
    "nothing": (filled({"x": h5py.Empty("f8")}), "no values"),
    "a group": (lambda file: file.create_group("x"), "no array"),
    "a type": (filled({"x": np.dtype("f8")}), "no array"),
}  # fmt: skip


@pytest.mark.parametrize("libver", VERSIONS, ids=str)
@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_arrays(libver, kind):
    fill, match = UNUSUAL[kind]
    data = written(fill, "latest" if kind == "virtual" else libver)
    tracemalloc.start()
    try:
        with open_hdf5(data, "model.h5") as file, pytest.raises(FormatError, match=match):
            file.array("x")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_type_that_stands_elsewhere():
    def fill(file):
        file["type"] = np.dtype("f8")
        file["text"] = h5py.string_dtype(length=4)
        file.create_dataset("x", (4,), dtype=file["type"])[:] = 1
        file.attrs.create("name", b"abcd", dtype=file["text"])

    with open_hdf5(written(fill)) as file:
        with pytest.raises(FormatError, match="its type is stored elsewhere"):
            file.array("x")
        with pytest.raises(
            FormatError, match="attribute 'name' of '/' cannot be read: it is stored in an unusual"
        ):
            file.text("", "name")


def test_a_dataspace_of_another_version():
    data = written(filled({"x": np.zeros(4321, np.uint8)}))
    at = data.index((4321).to_bytes(8, "little")) - 8
    assert data[at : at + 2] == b"\1\1"
    with (
        open_hdf5(data[:at] + b"\3" + data[at + 1 :]) as file,
        pytest.raises(FormatError, match="its dataspace has version 3: known are 1 and 2"),
    ):
        file.array("x")


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_two_members_of_one_name(libver):
    data = written(filled({"group/abcdef": [1], "group/uvwxyz": [2]}), libver)
    with (
        open_hdf5(data.replace(b"uvwxyz", b"abcdef")) as file,
        pytest.raises(FormatError, match="it has two members named 'abcdef'"),
    ):
        file.array("group/abcdef")


@pytest.mark.parametrize("value", [1.5, ["a", "b"], np.ones(3), h5py.Empty("f8")], ids=str)
def test_attributes_that_are_no_text(value):
    def fill(file):
        file.attrs["name"] = value

    with open_hdf5(written(fill)) as file, pytest.raises(FormatError, match=r"no text|no single value|no values"):
        file.text("", "name")


@pytest.mark.parametrize("path", ["none", "a/none", "a/x/none", "", "a//x", "a/", "/a", "a/.", "a/../a/x"])
def test_paths_that_lead_nowhere(path):
    with (
        open_hdf5(written(filled({"a/x": [1]})), "model.h5") as file,
        pytest.raises(FormatError, match=r"model\.h5"),
    ):
        file.array(path)


def test_groups_in_a_circle():
    def fill(file):
        file["a/x"] = [1]
        file["a/again"] = file["/"]

    with open_hdf5(written(fill)) as file:
        assert file.array("a/again/a/x") == [1]
        with pytest.raises(FormatError, match="more than 32 deep"):
            file.arrays("")


def test_more_paths_than_atoms():
    def fill(file):
        group = file
        for _ in range(30):
            inner = group.create_group("a")
            group["b"] = inner
            group = inner

    with open_hdf5(written(fill)) as file, pytest.raises(FormatError, match="more than 10000 links"):
        file.arrays("")


def test_the_same_bytes_again_and_again():
    """A thousand names of one array would take 800 MB, where the file has one."""

    def fill(file):
        file["x0"] = np.ones(100_000)
        for i in range(1, 1000):
            file[f"x{i}"] = file["x0"]

    with open_hdf5(written(fill)) as file, pytest.raises(FormatError, match="promises more than"):
        _ = [file.array(f"x{i}") for i in range(1000)]


ONE, MANY = {"abcdef": [1]}, {f"layer_{i}": [i] for i in range(60)}


@pytest.mark.parametrize(
    ("values", "libver", "mark", "at", "damage", "match"),
    [
        (ONE, "latest", b"\x06abcdef", 0, b"\0", "a link has no name"),
        (ONE, "latest", b"\x06abcdef", 0, b"\xf0", "a link has no name"),
        (ONE, "latest", b"\x06abcdef", -5, b"\xff", "is not whole"),
        (MANY, "latest", b"BTHD", 6, b"\x0b\0", "in a tree that is none"),
        (MANY, "latest", b"BTHD", 10, b"\0\0", "in a tree that is none"),
        (MANY, "latest", b"BTLF", 10, b"\x10", "stored in an unusual way"),
        (MANY, "latest", b"BTLF", 14, b"\x01", "is not in its heap"),
        (MANY, "latest", b"BTLF", 15, b"\xff\xff", "is not in its heap"),
        (ONE, "earliest", b"SNOD", 8, b"\0", "the name of a member of a group is not there"),
        (ONE, "earliest", b"SNOD", 8, b"\x60", "the name of a member of a group is not there"),
    ],
)
def test_what_is_damaged_is_told(values, libver, mark, at, damage, match):
    """Lengths of names, messages and records, and the place of a name."""
    data = written(filled(values), libver)
    at += data.index(mark)
    with (
        open_hdf5(data[:at] + damage + data[at + len(damage) :]) as file,
        pytest.raises(FormatError, match=match),
    ):
        file.arrays("")


@pytest.mark.parametrize("index", [0, 2])
def test_a_text_that_is_not_in_its_heap(index):
    """Of index 0 is what is free there."""

    def fill(file):
        file.attrs["text"] = "words"

    data = written(fill)
    reference = data.index(b"GCOL").to_bytes(8, "little")
    damaged = data.replace(reference + b"\x01\0\0\0", reference + bytes([index, 0, 0, 0]))
    assert damaged != data
    with open_hdf5(damaged) as file, pytest.raises(FormatError, match=f"there is no {index}"):
        file.text("", "text")


@pytest.mark.parametrize("links", [10_000, 10_001])
def test_the_most_links(links):
    def fill(file):
        file["x"] = [1]
        for i in range(1, links):
            file[f"x{i}"] = file["x"]

    with open_hdf5(written(fill)) as file:
        if links > 10_000:
            with pytest.raises(FormatError, match="more than 10000 links"):
                file.arrays("")
        else:
            assert len(file.arrays("")) == links


@pytest.mark.parametrize(
    "signature", [b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"FRHP", b"FHIB", b"BTHD", b"BTLF"]
)
def test_structures_that_point_at_themselves(signature):
    """Every word of each structure in turn is the address of that structure."""
    values = {f"layers/layer_{i}": [i] for i in range(60)}

    def fill(file):
        filled(values)(file)
        file.attrs["text"] = "words"

    data = next(data for data in (written(fill, "earliest"), written(fill, "latest")) if signature in data)
    at = data.index(signature)
    for here in range(at, min(at + 150, len(data) - 8)):
        damaged = data[:here] + at.to_bytes(8, "little") + data[here + 8 :]
        with suppress(FormatError), open_hdf5(damaged) as file:
            file.text("", "text")
            file.arrays("")


def small(file):
    filled({"a/b": np.ones(3), "c": [2]})(file)
    file.attrs["name"] = "text"


SMALL = [written(small, libver) for libver in VERSIONS]


@given(
    data=st.sampled_from(SMALL),
    changes=st.lists(st.tuples(st.integers(0), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=500)
def test_damage(data, changes):
    for start, length, new in changes:
        start %= len(data)
        data = data[:start] + new + data[start + length :]
    with suppress(FormatError), open_hdf5(data) as file:
        file.text("", "name")
        assert all(file.array(path).dtype.kind in "fiu" for path in file.arrays(""))


@given(data=st.binary(max_size=200).map(lambda data: SMALL[0][:8] + data) | st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes(data):
    with pytest.raises(FormatError), open_hdf5(data, "model.h5") as file:
        file.array("a")


def test_from_disk(tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(SMALL[0])
    with open_hdf5(path) as file:
        assert file.array("c") == [2]
    path.write_bytes(b"")
    for wrong in (path, tmp_path, tmp_path / "none.h5"):
        with pytest.raises(FormatError, match=wrong.name), open_hdf5(wrong):
            pass


def test_a_block_of_the_user_in_front():
    data = bytes(512) + SMALL[0]
    with pytest.raises(FormatError, match=r"model\.h5 is not an HDF5 file"), open_hdf5(data, "model.h5"):
        pass
