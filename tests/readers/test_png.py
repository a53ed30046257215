"""Folders of PNG images, written by Pillow."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.readers.png import Images
from portable_nn.sources import opened

Image = pytest.importorskip("PIL.Image", reason='pip install "portable-nn[cli]"')

GREY = np.random.default_rng(0).integers(0, 256, (5, 4, 6), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    for i, pixels in enumerate(GREY):
        Image.fromarray(pixels).save(tmp_path / f"{9 - i}.png")
    return tmp_path


def test_they_are_sorted_and_read_in_slices(folder):
    (folder / "notes.txt").write_text("no image")
    images = opened(folder)
    assert images.names == ["5.png", "6.png", "7.png", "8.png", "9.png"]
    assert (images.shape, images.dtype) == ((5, 4, 6), np.uint8)
    np.testing.assert_array_equal(images[:], GREY[::-1])
    np.testing.assert_array_equal(images[1:3], GREY[::-1][1:3])
    assert images[2:2].shape == (0, 4, 6)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_they_become_grey(tmp_path, mode):
    picture = Image.fromarray(GREY[0]).convert(mode)
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(Images(tmp_path)[0:1][0], np.asarray(picture.convert("L")))


def test_colours_are_weighed(tmp_path):
    Image.new("RGB", (1, 1), (255, 0, 0)).save(tmp_path / "red.png")
    assert Images(tmp_path)[0:1].tolist() == [[[76]]]  # 0.299 of red, as in ITU-R BT.601


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge(path):
    header = struct.pack(">IIBBBBB", 5000, 5000, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "5.png"),
        (lambda path: path.write_text("no image"), "cannot identify image file"),
        (lambda path: Image.fromarray(GREY[0]).save(path, "JPEG"), "cannot identify image file"),
        (lambda path: Image.fromarray(GREY[0].astype(np.uint16) * 257).save(path), "its mode is I;16"),
        (lambda path: Image.new("RGBA", (6, 4), (0, 0, 0, 99)).save(path), "parts of it are transparent"),
        (huge, "it has 25,000,000 pixels, the limit is 16,777,216"),
    ],
)
def test_what_is_no_grey_image(folder, spoil, message):
    spoil(folder / "5.png")
    with pytest.raises(pnn.FormatError, match=r"5\.png") as caught:
        opened(folder)
    assert message in str(caught.value)


def test_images_have_one_size(folder):
    Image.new("L", (6, 5)).save(folder / "7.png")
    with pytest.raises(pnn.ShapeError, match=r"7\.png is 6 x 5 pixels, 5\.png is 6 x 4: the images of a folder"):
        opened(folder)[:]


def test_a_folder_that_changes_is_told(folder):
    images = opened(folder)
    Image.new("L", (6, 4)).save(folder / "7.png")
    with pytest.raises(pnn.FormatError, match="has changed since the work began"):
        images[:]


def test_a_folder_of_none(tmp_path):
    with pytest.raises(pnn.FormatError, match=r"without PNG images|neither PNG images"):
        opened(tmp_path)


def test_without_pillow(folder):
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "import portable_nn as pnn\n"
        "try: pnn.infer(pnn.load('mnist'), sys.argv[1])\n"
        "except pnn.FormatError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert 'needs Pillow, which is not there: pip install "portable-nn[cli]"' in done.stdout
