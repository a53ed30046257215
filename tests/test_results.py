"""Results that grow on disk: whole or not at all, of one process at a time, gone on with to the same bytes."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
from commands import MODULE, environment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.blocks import ZarrWriter, check_folder
from portable_nn.results import NpyWriter
from portable_nn.writing import check_output

with suppress(ModuleNotFoundError):  # Windows has none
    import fcntl

posix = pytest.mark.skipif(os.name == "nt", reason="locks, limits and signals of POSIX: run on Linux or macOS")


def test_a_writer_leaves_a_whole_npy_file(tmp_path):
    with NpyWriter(tmp_path / "y.npy", "work") as writer:
        writer.append(np.array([[1.5, 2.5]], dtype=np.float32))
        writer.append(np.array([[3.5, 4.5]], dtype=np.float32))
        assert not (tmp_path / "y.npy").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["y.npy"]
    found = np.load(tmp_path / "y.npy")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1.5, 2.5], [3.5, 4.5]])


class KilledError(Exception):
    pass


def killed_after(path, rows, torn):
    """Write some rows and stop as a kill would, in the middle of a row."""
    with suppress(KilledError), NpyWriter(path, "work") as writer:
        writer.append(np.arange(rows))
        raise KilledError
    (partial,) = path.parent.glob("*.partial")
    with partial.open("ab") as file:
        file.write(b"\x07" * torn)
    return partial


@pytest.mark.parametrize("torn", [0, 1, 7])
def test_a_writer_goes_on_after_the_last_whole_row(tmp_path, torn):
    path = tmp_path / "y.npy"
    killed_after(path, 5, torn)
    assert not path.exists()
    with NpyWriter(path, "work") as writer:
        assert writer.rows == 4  # the last one is written again, to prove those before
        writer.append(np.arange(4, 8))
    np.testing.assert_array_equal(np.load(path), np.arange(8))


def test_other_work_starts_anew(tmp_path):
    path = tmp_path / "y.npy"
    killed_after(path, 5, 0)
    with NpyWriter(path, "other work") as writer:
        assert writer.rows == 0
        writer.append(np.arange(2))
    np.testing.assert_array_equal(np.load(path), [0, 1])


@pytest.mark.parametrize("length", [0, 5, 100])
def test_a_header_that_was_cut_short_starts_anew(tmp_path, length):
    path = tmp_path / "y.npy"
    partial = killed_after(path, 5, 0)
    partial.write_bytes(partial.read_bytes()[:length])
    with NpyWriter(path, "work") as writer:
        assert writer.rows == 0
        writer.append(np.arange(3))
    np.testing.assert_array_equal(np.load(path), np.arange(3))


def test_an_older_result_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "y.npy"
    np.save(path, np.arange(2))
    killed_after(path, 5, 0)
    np.testing.assert_array_equal(np.load(path), [0, 1])


def completed(path):
    """The eight rows of the work, some of which may be there already."""
    with NpyWriter(path, "work") as writer:
        writer.append(np.arange(writer.rows, 8))
    return np.load(path)


@pytest.mark.parametrize("n", range(128 + 5 * 8))
def test_a_partial_file_cut_anywhere_is_completed(tmp_path, n):
    partial = killed_after(tmp_path / "y.npy", 5, 0)
    partial.write_bytes(partial.read_bytes()[:n])
    np.testing.assert_array_equal(completed(tmp_path / "y.npy"), np.arange(8))


@given(position=st.integers(0, 127), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_partial_file_with_a_damaged_header_is_refused(tmp_path, position, flip):
    path = tmp_path / "y.npy"
    partial = killed_after(path, 5, 0)
    data = bytearray(partial.read_bytes())
    data[position] ^= flip
    partial.write_bytes(data)
    with suppress(pnn.FormatError):
        np.testing.assert_array_equal(completed(path), np.arange(8))
    path.unlink(missing_ok=True)
    partial.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5, dtype="<i4"),
        np.arange(5, dtype=">i8"),
        np.arange(10).reshape(5, 2),
        np.asfortranarray(np.arange(10).reshape(5, 2)),
        np.array(7),
        np.empty((5, 0), int),
        np.zeros(5, "M8[s]"),
        np.zeros(5, [("a", "i8")]),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_a_partial_file_of_other_results_is_refused(tmp_path, array):
    partial = killed_after(tmp_path / "y.npy", 5, 0)
    with partial.open("wb") as file:
        np.lib.format.write_array(file, array)
    with pytest.raises(pnn.FormatError, match="delete it, and begin anew"):
        completed(tmp_path / "y.npy")
    assert not (tmp_path / "y.npy").exists()


# Of batches


@pytest.mark.parametrize("torn", [0, 1])
def test_batches_are_gone_on_with_whole(tmp_path, torn):
    path = tmp_path / "y.npy"
    killed_after(path, 8, torn)
    with NpyWriter(path, "work", step=3) as writer:
        assert writer.rows == 6
        writer.append(np.arange(6, 10))
    np.testing.assert_array_equal(np.load(path), np.arange(10))


# In zarr


def in_blocks(path, identity="work", total=10, size=4, **options):
    pytest.importorskip("zarr", reason="pip install zarr")
    return ZarrWriter(path, identity, size=size, total=total, **{"overwrite": False} | options)


@pytest.mark.parametrize("total", [10, None])
@pytest.mark.parametrize("pieces", [[10], [3, 3, 3, 1], [4, 4, 2], [1] * 10, [9, 0, 1]], ids=str)
def test_blocks_are_the_same_however_rows_come(tmp_path, total, pieces):
    zarr = pytest.importorskip("zarr", reason="pip install zarr")
    rows = np.arange(30.0).reshape(10, 3)
    for name, parts in ("one", [rows]), ("many", np.split(rows, np.cumsum(pieces)[:-1])):
        with in_blocks(tmp_path / name, total=total) as writer:
            for part in parts:
                writer.append(part)
    found = zarr.open_array(tmp_path / "many", mode="r")
    assert found.chunks == (4, 3)
    np.testing.assert_array_equal(found[:], rows)
    assert files(tmp_path / "many") == files(tmp_path / "one")


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_blocks_are_gone_on_with(tmp_path):
    path = tmp_path / "y.zarr"
    with suppress(KilledError), in_blocks(path) as writer:
        writer.append(np.arange(7))
        raise KilledError
    assert not path.exists()
    with in_blocks(path) as writer:
        assert writer.rows == 4
        writer.append(np.arange(4, 10))
    with in_blocks(tmp_path / "whole") as writer:
        writer.append(np.arange(10))
    assert files(path) == files(tmp_path / "whole")


def test_what_is_all_there_needs_no_more_rows(tmp_path):
    path = tmp_path / "y.zarr"
    with suppress(KilledError), in_blocks(path, total=8) as writer:
        writer.append(np.arange(8))
        raise KilledError
    with in_blocks(path, total=8) as writer:
        assert writer.rows == 8
    assert sorted(files(path)) == ["c.0", "c.1", "zarr.json"]


def test_what_killed_writers_left_is_removed(tmp_path):
    with in_blocks(tmp_path / "y.zarr") as writer:
        writer.append(np.arange(10))
        (writer.partial / f".{'0' * 32}.tmp").write_bytes(b"left over")
    assert sorted(files(tmp_path / "y.zarr")) == ["c.0", "c.1", "c.2", "zarr.json"]


def test_blocks_that_are_missing_are_told(tmp_path):
    writer = in_blocks(tmp_path / "y.zarr")
    with pytest.raises(pnn.FormatError, match="lacks 2 blocks: the same call computes them"), writer:
        writer.append(np.arange(4))
    assert not (tmp_path / "y.zarr").exists()


def test_blocks_of_several_kinds_are_refused(tmp_path):
    with in_blocks(tmp_path / "y", size=1) as writer:
        for rows in np.arange(5), np.arange(5, 10):
            writer.append(rows)
        with pytest.raises(pnn.ShapeError, match="give batches of one dtype and shape"):
            writer.append(np.ones((2, 4)))


def test_what_cannot_be_gone_on_with_is_not_kept(tmp_path):
    with suppress(KilledError), in_blocks(tmp_path / "y.zarr", identity=None) as writer:
        writer.append(np.arange(7))
        raise KilledError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_another_one_elsewhere_is_told(tmp_path):
    with in_blocks(tmp_path / "y.zarr", identity="work") as writer:
        check_folder(writer.partial, "work")
        for folder, identity in (writer.partial, "other work"), (tmp_path / "none", "work"):
            with pytest.raises(
                pnn.OutputError, match=f"{folder.name} is not to be seen there: .* all machines share"
            ):
                check_folder(folder, identity)
        writer.append(np.arange(10))


def test_zarr_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(pnn.BackendError, match="need zarr: pip install zarr"):
        ZarrWriter(tmp_path / "y.zarr", "work", size=4, total=10, overwrite=False)
    assert list(tmp_path.iterdir()) == []


# By one process


def writers(path):
    return NpyWriter(path, "work") if path.suffix == ".npy" else in_blocks(path)


@posix
@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_one_process_writes(tmp_path, name):
    path = tmp_path / name
    with writers(path) as writer:
        writer.append(np.arange(5))
        before = everything(tmp_path)
        with pytest.raises(pnn.OutputError, match=f"{name} is being written by another process: wait"):
            writers(path)
        assert everything(tmp_path) == before
        writer.append(np.arange(5, 10))
    assert os.listdir(tmp_path) == [name]


@posix
@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_another_process_may_finish_at_any_moment(tmp_path, monkeypatch, name):
    """Between the partial file's opening and its lock, or the folder's making and the lock in it."""
    path, flock, touch = tmp_path / name, fcntl.flock, Path.touch

    def finished():
        monkeypatch.setattr(fcntl, "flock", flock)
        monkeypatch.setattr(Path, "touch", touch)
        (partial,) = tmp_path.glob("*.partial")
        partial.rename(tmp_path / f"other {name}")

    monkeypatch.setattr(fcntl, "flock", lambda *arguments: (finished(), flock(*arguments)))
    with writers(path) as writer:
        writer.append(np.arange(10))
    assert sorted(os.listdir(tmp_path)) == [f"other {name}", name]
    if name == "y.zarr":
        rmtree(tmp_path / f"other {name}")
        monkeypatch.setattr(Path, "touch", lambda *arguments: (finished(), touch(*arguments)))
        rmtree(path)
        with writers(path) as writer:
            writer.append(np.arange(10))
        assert sorted(os.listdir(tmp_path)) == [f"other {name}", name]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "none" / "y.npy"
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        NpyWriter(path, "work")


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_what_has_come_meanwhile_stays(tmp_path, name):
    path = tmp_path / name
    writer = NpyWriter(path, "work", overwrite=False) if name == "y.npy" else in_blocks(path)
    writer.append(np.arange(10))
    path.write_text("precious")
    with pytest.raises(pnn.OutputError, match="has come into being meanwhile; the results are kept in"), writer:
        pass
    assert path.read_text() == "precious"
    path.unlink()
    with writers(path) as writer:
        assert writer.rows >= 8
        writer.append(np.arange(writer.rows, 10))
    assert os.listdir(tmp_path) == [name]


def by_name(path, **options):
    if path.suffix == ".zarr":
        return ZarrWriter(path, "work", names="ab", size=4, total=10, **{"overwrite": False} | options)
    return NpyWriter(path, "work", names="ab", step=3, **{"overwrite": False} | options)


def both(start, stop):
    return {"a": np.arange(start, stop), "b": np.arange(2 * start, 2 * stop).reshape(-1, 2)}


@pytest.mark.parametrize("name", ["y", "y.zarr"])
def test_what_was_whole_and_could_not_appear_is_not_computed_again(tmp_path, name):
    path = tmp_path / name
    writer = by_name(path)
    writer.append(both(0, 10))
    path.mkdir()
    with pytest.raises(pnn.OutputError, match="has come into being meanwhile"), writer:
        pass
    path.rmdir()
    with by_name(path) as writer:
        assert writer.rows >= 9
        writer.append(both(writer.rows, 10))
    with by_name(tmp_path / f"whole {name}") as writer:
        writer.append(both(0, 10))
    assert tree(path) == tree(tmp_path / f"whole {name}")
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"whole {name}"])


@pytest.mark.parametrize("name", ["y", "y.zarr"])
@pytest.mark.parametrize("older", ["file", "link", "folder"])
def test_a_folder_takes_the_place_of_whatever_was_there(tmp_path, name, older):
    path, other = tmp_path / name, tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    match older:
        case "file":
            path.write_text("older")
        case "link":
            path.symlink_to(other)
        case "folder":
            with by_name(path) as writer:
                writer.append(both(10, 20))
    with by_name(path, overwrite=True) as writer:
        writer.append(both(0, 10))
    with by_name(other / name) as writer:
        writer.append(both(0, 10))
    assert tree(path) == tree(other / name)
    assert (other / "mine").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["other", name]


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@posix
@pytest.mark.parametrize("name", ["y", "y.zarr"])
def test_one_process_writes_results_by_name(tmp_path, name):
    with by_name(tmp_path / name) as writer:
        writer.append(both(0, 5))
        before = tree(tmp_path)
        with pytest.raises(pnn.OutputError, match=f"{name} is being written by another process: wait"):
            by_name(tmp_path / name)
        assert tree(tmp_path) == before
        writer.append(both(5, 10))
    assert os.listdir(tmp_path) == [name]


# On disk


@posix
@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_files_and_their_folder_are_on_disk_before_and_after_they_have_their_names(tmp_path, name, monkeypatch):
    synced = []
    fsync = os.fsync

    def noted(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}") if os.path.exists("/proc/self/fd") else "")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with writers(tmp_path / name) as writer:
        writer.append(np.arange(10))
    if os.path.exists("/proc/self/fd"):
        assert synced[-1] == str(tmp_path)
        assert any(path.endswith(".partial" if name == "y.npy" else ".tmp") for path in synced)
    else:
        assert len(synced) >= 2


FULL = """
import resource, sys
sys.dont_write_bytecode = True  # which would be cut too, for everyone
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
import portable_nn.__main__
try:
    portable_nn.__main__.main()
finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)  # for what is written of coverage
"""


@posix
@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_a_full_disk_names_the_file_and_the_same_command_goes_on(tmp_path, name):
    """A limit on the size of files stands for the disk; the sum of bytes written before is the same."""
    images, _ = pnn.datasets.mnist("test")
    np.save(tmp_path / "x.npy", images[:2000])
    options = ["predict", "x.npy", "--out", name, "--probabilities", "--batch-size", "30", "--block-size", "100"]

    def run(*command):
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment()
        )

    full = run(sys.executable, "-c", FULL, *options)
    assert (full.returncode, full.stdout) == (2, "")
    assert full.stderr.startswith("portable-nn: [Errno 27] File too large: '")
    assert name in full.stderr or "c.0.0" in full.stderr
    assert full.stderr.count("\n") == 1
    assert run(*MODULE, *options).returncode == 0
    options[3] = f"whole {name}"
    assert run(*MODULE, *options).returncode == 0
    both = tmp_path / name, tmp_path / options[3]
    read = files if name == "y.zarr" else Path.read_bytes
    assert read(both[0]) == read(both[1])


def write_both(path, value):
    with NpyWriter(path, f"work {value}", names=["mean", "scale"]) as writer:
        left = 3 - writer.rows
        writer.append({"mean": np.full((left, 2), value), "scale": np.full(left, value)})


NAMES = "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"
CUT = f"""
import os, sys
import numpy as np
from portable_nn.results import NpyWriter
from portable_nn.writing import check_output

def count(event, arguments):
    global left
    if event in {NAMES}:
        left -= 1
        if not left:
            os._exit(9)

path, left = sys.argv[1], int(sys.argv[2])
with NpyWriter(path, "work 2", names=["mean", "scale"]) as writer:
    writer.append({{"mean": np.full((3, 2), 2), "scale": np.full(3, 2)}})
    sys.addaudithook(count)
"""


@pytest.mark.parametrize("moment", range(1, 10))
def test_a_kill_while_names_change_loses_nothing(tmp_path, moment):
    """At each of them: the older folder is there or the new one, after the next call at the latest."""
    path = tmp_path / "results"
    write_both(path, 1)
    done = subprocess.run([sys.executable, "-c", CUT, path, str(moment)], env=environment(), check=False)
    assert done.returncode == 9
    with pytest.raises(pnn.OutputError, match="exists"):
        check_output(path, overwrite=False, files=["mean.npy", "scale.npy"])
    assert {int(np.load(path / f"{name}.npy")[0].max()) for name in ("mean", "scale")} in ({1}, {2})
    write_both(path, 2)
    assert os.listdir(tmp_path) == ["results"]
    assert np.load(path / "mean.npy").tolist() == [[2, 2]] * 3
