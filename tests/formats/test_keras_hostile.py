"""Keras's files that attack: nothing is followed, run, or taken more memory for than there is."""

import io
import random
import tracemalloc
import zipfile
from contextlib import suppress

import pytest
from keras_files import SUFFIXES, members, packed

import portable_nn as pnn
from portable_nn.formats.keras import read_keras

h5py = pytest.importorskip("h5py", reason="files are changed by h5py: pip install h5py")


@pytest.mark.parametrize("link", ["group", "array"])
def test_links_in_the_weights(made, tmp_path, link):
    """CVE-2026-1669 and what is like it."""
    path = tmp_path / "model.h5"
    path.write_bytes((made[0] / "function tanh.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        weights = file["model_weights"]
        name = next(name for name in weights if len(weights[name]))
        if link == "array":
            name = f"{name}/" + next(iter(file["model_weights"][name].attrs["weight_names"]))
        del weights[name]
        weights[name] = h5py.ExternalLink(str(made[0] / "deep.h5"), "/model_weights")
    with pytest.raises(pnn.FormatError, match="a link to elsewhere"):
        read_keras(path)


def test_values_in_another_file(made, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(1000))
    contents = members(made[0] / "function tanh.keras")
    data = io.BytesIO(contents["model.weights.h5"])
    with h5py.File(data, "r+") as file:
        group = file["layers/dense/vars"]
        shape = group["0"].shape
        del group["0"]
        group.create_dataset("0", shape, "f4", external=[(str(tmp_path / "secret"), 0, 1000)])
    path = packed(tmp_path / "model.keras", contents | {"model.weights.h5": data.getvalue()})
    with pytest.raises(pnn.FormatError, match="in another file, which is not opened"):
        read_keras(path)


def refused(path, match):
    """The peak of memory while the file is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(pnn.FormatError, match=match):
            read_keras(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("options", [{}, {"chunks": (2**10,), "compression": "gzip"}])
def test_shapes_of_more_than_there_is(made, tmp_path, options):
    """CVE-2026-0897."""
    contents = members(made[0] / "function tanh.keras")
    data = io.BytesIO(contents["model.weights.h5"])
    with h5py.File(data, "r+") as file:
        del file["layers/dense/vars/0"]
        file.create_dataset("layers/dense/vars/0", (2**36,), "f4", **options)
    path = packed(tmp_path / "model.keras", contents | {"model.weights.h5": data.getvalue()})
    assert refused(path, "layers/dense/vars/0") < 2**20


def test_bombs(made, tmp_path):
    contents = members(made[0] / "function tanh.keras")
    for name in contents:
        path = tmp_path / "bomb.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for other in contents:
                archive.writestr(other, bytes(2**27) if other == name else contents[other])
        assert refused(path, "bomb.keras") < 2**26
    text = b'{"a":' + b"[],".join([b"["] + [b""] * 2**20) + b"[]]}"
    assert refused(packed(tmp_path / "long.keras", contents | {"config.json": text}), "characters") < 2**26


def test_names_of_members(made, tmp_path):
    contents = members(made[0] / "function tanh.keras")
    folder = tmp_path / "folder"
    folder.mkdir()
    path = packed(folder / "model.keras", {"../../evil": b"1", "/evil": b"1", **contents})
    read_keras(path)
    assert list(tmp_path.rglob("*")) == [folder, path]
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", b"{}")
    with pytest.raises(pnn.FormatError, match="several members of one name"):
        read_keras(path)
    for name in contents:
        packed(path, {other: data for other, data in contents.items() if other != name})
        with pytest.raises(pnn.FormatError, match=f"no member {name}"):
            read_keras(path)


def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(data) or 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                data[at : at + 8] = rng.choice([b"\0", b"\xff", b"\x7f"]) * 8
            case 2:
                other = rng.randrange(len(data) or 1)
                data[at : at + 8] = data[other : other + 8]
            case 3:
                del data[at : at + rng.choice([1, 8, 1000])]
    return bytes(data)


@pytest.mark.parametrize("part", ["h5", "keras", "config.json", "metadata.json", "model.weights.h5"])
def test_mutants(made, tmp_path, part):
    """Of real files, and of each member of an archive, whose checksums a plain mutant would not pass."""
    rng, path = random.Random(part), tmp_path / "model"
    source = made[0] / f"deep.{part if part in SUFFIXES else 'keras'}"
    contents = members(source) if part not in SUFFIXES else {}
    tracemalloc.start()
    try:
        for _ in range(200):
            if contents:
                packed(path, contents | {part: mutated(contents[part], rng)})
            else:
                path.write_bytes(mutated(source.read_bytes(), rng))
            with suppress(pnn.FormatError):
                assert read_keras(path).layers
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"\x89HDF\r\n\x1a\n", b"no model"])
def test_other_bytes(tmp_path, data):
    path = tmp_path / "model.keras"
    path.write_bytes(data)
    with pytest.raises(pnn.FormatError, match=r"model\.keras"):
        read_keras(path)
