"""Zip archives: zipfile wrote them, damage and bombs are the adversary."""

import io
import struct
import tracemalloc
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.readers import buffers, zips
from portable_nn.readers.zips import Archive

MEMBERS = {"data.pkl": b"pickle", "data/0": bytes(range(256)) * 20, "empty": b"", "ä/€": b"name"}


def packed(members=MEMBERS, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as writer:
        for name, content in members.items():
            writer.writestr(name, content)
    return file.getvalue()


def unpacked(data):
    archive = Archive(io.BytesIO(data))
    return {name: archive.open(name).read() for name in archive.names}


def refused(data, match, name=None):
    """The peak of memory while the archive, or one of its members, is refused."""
    file = io.BytesIO(data)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=match):
            Archive(file).open(name)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members(compression):
    assert unpacked(packed(compression=compression)) == MEMBERS


def test_a_member_is_writable_memory_at_its_start():
    member = Archive(io.BytesIO(packed())).open("data.pkl")
    assert member.tell() == 0
    member.getbuffer()[0] = 0
    assert member.read() == b"\0ickle"


def test_only_what_is_asked_for_is_read():
    archive = Archive(io.BytesIO(STORED.replace(b"pickle", b"PICKLE")))
    assert archive.open("data/0").read() == MEMBERS["data/0"]
    with pytest.raises(ValueError, match="damaged: Bad CRC-32"):
        archive.open("data.pkl")


def test_streams_before_their_headers_and_zip64():
    class Unseekable(io.RawIOBase):
        def __init__(self):
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    file = Unseekable()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in MEMBERS.items():
            with writer.open(name, "w", force_zip64=True) as member:
                member.write(content)
    assert unpacked(file.data) == MEMBERS


def entry(data, name, *, directory=True):
    """Where the header of a member starts."""
    signature, length = (b"PK\1\2", 46) if directory else (b"PK\3\4", 30)
    start = data.index(signature)
    while not data[start + length :].startswith(name.encode()):
        start = data.index(signature, start + 1)
    return start


def changed(data, start, offset, code, value):
    """The archive with a field of a header changed."""
    packed = struct.pack(code, value)
    return data[: start + offset] + packed + data[start + offset + len(packed) :]


STORED = packed(compression=zipfile.ZIP_STORED)
DEFLATED = packed()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "not a zip"),
        (b"PK\3\4" + bytes(100), "not a zip"),
        (STORED[:-1], "not a zip"),
        (packed(compression=zipfile.ZIP_LZMA), "other than DEFLATE"),
        (packed(compression=zipfile.ZIP_BZIP2), "other than DEFLATE"),
        (changed(STORED, entry(STORED, "data/0"), 10, "<H", 99), "other than DEFLATE"),
        (changed(STORED, entry(STORED, "data/0"), 8, "<H", 1), "encrypted"),
        (changed(STORED, entry(STORED, "data/0"), 24, "<L", 5), "Bad CRC-32"),
        (changed(STORED, entry(STORED, "data/0"), 24, "<L", 6000), "has not the length"),
        (changed(STORED, entry(STORED, "data/0"), 24, "<L", 2**31), "it promises more than"),
        (changed(DEFLATED, entry(DEFLATED, "data/0"), 24, "<L", 5), "Bad CRC-32"),
        (changed(DEFLATED, entry(DEFLATED, "data/0"), 24, "<L", 6000), "has not the length"),
        (changed(STORED, entry(STORED, "data/0"), 20, "<L", 6000), "overlaps"),
        (changed(STORED, entry(STORED, "data/0"), 42, "<L", 0), "differ"),
        (changed(STORED, entry(STORED, "data/0"), 42, "<L", 2**31), "overlaps"),
        (changed(STORED, entry(STORED, "data/0", directory=False), 28, "<H", 9999), "overlaps"),
        (DEFLATED.replace(b"data/0", b"data/1", 1), "differ"),
        (packed({"a": b""}), "no member data/0"),
    ],
)
def test_refusals_say_why(data, match):
    refused(data, match, "data/0")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as writer:
        writer.writestr("a", b"1")
        writer.writestr("a", b"2")
    refused(file.getvalue(), "several members of one name")


def test_members_that_overlap():
    file = io.BytesIO()
    inner = packed({"b": b"inside"}, zipfile.ZIP_STORED)
    with zipfile.ZipFile(file, "w") as writer:
        writer.writestr("a", inner)
        info = zipfile.ZipInfo("b")
        info.header_offset = 30 + len("a")  # where the inner archive starts
        info.file_size = info.compress_size = len(b"inside")
        info.CRC = zipfile.crc32(b"inside")
        writer.filelist.append(info)
    data = file.getvalue()
    refused(data, "overlaps", "a")
    assert Archive(io.BytesIO(data)).open("b").read() == b"inside"


def test_bombs(monkeypatch):
    monkeypatch.setattr(buffers, "MAX_EXTRA", 2**22)
    zeros = bytes(3_000_000)
    bomb = packed({"a": zeros * 2})
    assert refused(bomb, "it promises more than", "a") < 100_000
    several = packed({"a": zeros, "b": zeros})
    archive = Archive(io.BytesIO(several))
    archive.open("a")
    with pytest.raises(ValueError, match="it promises more than"):
        archive.open("b")
    start = entry(bomb, "a")
    lying = changed(bomb, start, 24, "<L", 1000)
    assert refused(lying, "Bad CRC-32", "a") < 1_000_000


def test_a_directory_takes_bounded_memory(monkeypatch):
    many = packed(dict.fromkeys(map(str, range(3000)), b""), zipfile.ZIP_STORED)
    monkeypatch.setattr(zips, "MAX_DIRECTORY", 100_000)
    assert refused(many, "its directory has") < 1_000_000


def test_the_limit_of_a_directory_keeps_the_limit_of_memory():
    name = "{:05}".format
    size = 46 + len(name(0))
    many = packed(dict.fromkeys(map(name, range(2**17 // size)), b""), zipfile.ZIP_STORED)
    tracemalloc.start()
    try:
        Archive(io.BytesIO(many))
        assert tracemalloc.get_traced_memory()[1] < len(many) + 2**26 * 2**17 // 2**21
    finally:
        tracemalloc.stop()


@given(
    data=st.sampled_from([STORED, DEFLATED]),
    start=st.integers(0),
    length=st.integers(0, 4),
    new=st.binary(max_size=4),
)
@settings(deadline=None, max_examples=500)
def test_damage(data, start, length, new):
    start %= len(data)
    with suppress(ValueError):
        for name, content in unpacked(data[:start] + new + data[start + length :]).items():
            assert content == MEMBERS.get(name, content)
