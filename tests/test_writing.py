"""Files that are written whole or not at all, and never over what is read."""

import os

import pytest

import portable_nn as pnn
from portable_nn.writing import check_output, write


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_input_is_written_over(tmp_path, link, overwrite):
    path, other = tmp_path / "x.npy", tmp_path / "other.npy"
    path.write_text("precious")
    link(path, other)
    for pair in ((path, path), (path, other), (other, path), (str(other), str(path))):
        with pytest.raises(pnn.OutputError, match="is an input, which it would destroy"):
            check_output(*pair, overwrite=overwrite)


def test_only_what_may_be_written_over_is(tmp_path):
    path = tmp_path / "y.npy"
    check_output(path, tmp_path / "x.npy", None, overwrite=False)
    os.symlink("nowhere", tmp_path / "link")
    path.write_text("precious")
    for file in (path, tmp_path / "link"):
        with pytest.raises(pnn.OutputError, match="exists: write to another file, or overwrite it"):
            check_output(file, tmp_path / "x.npy", None, overwrite=False)
        check_output(file, tmp_path / "x.npy", None, overwrite=True)
    with pytest.raises(FileExistsError, match="is a folder"):
        check_output(tmp_path, overwrite=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders: run on Linux or macOS")
def test_a_device_is_no_file_to_replace(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", os.devnull):
        with pytest.raises(pnn.OutputError, match="is no regular file"):
            check_output(path, overwrite=True)


def test_a_file_takes_the_place_of_an_older_one_or_of_a_link(tmp_path):
    path, link = tmp_path / "x.bin", tmp_path / "link.bin"
    for data in (b"old", b"new"):
        write(path, data)
        assert path.read_bytes() == data
    os.symlink(path, link)
    write(str(link), b"other")
    assert (path.read_bytes(), link.read_bytes()) == (b"new", b"other")
    assert sorted(os.listdir(tmp_path)) == ["link.bin", "x.bin"]


def test_what_the_system_refuses_names_the_file_that_was_wanted(tmp_path):
    path = tmp_path / "none" / "x.bin"
    with pytest.raises(FileNotFoundError) as caught:
        write(path, b"")
    assert str(caught.value) == f"[Errno 2] No such file or directory: '{path}'"
