"""Files from the user's folder and from mirrors; the mirrors are a server on this machine."""

import hashlib
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from portable_nn.datasets._fetch import FOLDER_VARIABLE, SOURCES, fetch
from portable_nn.errors import DataError

NAME, CONTENT = "digits.gz", b"seven"
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Mirrors(ThreadingHTTPServer):
    """Serves `files`, path to bytes, and notes what it is asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = {}, []

    def source(self, *folders):
        return CHECKSUM, tuple(f"http://127.0.0.1:{self.server_port}/{folder}/" for folder in folders)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def mirrors(monkeypatch, tmp_path):
    pooch = pytest.importorskip("pooch", reason='pip install "portable-nn[data]"')
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    with Mirrors() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_download_is_kept(mirrors, monkeypatch, tmp_path):
    monkeypatch.setitem(SOURCES, NAME, mirrors.source("first", "second"))
    mirrors.files["/first/digits.gz"] = CONTENT
    assert fetch(NAME) == tmp_path / "portable_nn" / NAME
    assert fetch(NAME).read_bytes() == CONTENT
    assert mirrors.asked == ["/first/digits.gz"]


def test_a_damaged_copy_in_the_cache_is_downloaded_again(mirrors, monkeypatch, tmp_path):
    monkeypatch.setitem(SOURCES, NAME, mirrors.source("first"))
    mirrors.files["/first/digits.gz"] = CONTENT
    (tmp_path / "portable_nn").mkdir()
    (tmp_path / "portable_nn" / NAME).write_bytes(b"eight")
    assert fetch(NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("first", [None, b"eight"], ids=["missing", "another checksum"])
def test_the_second_mirror_steps_in(mirrors, monkeypatch, first):
    monkeypatch.setitem(SOURCES, NAME, mirrors.source("first", "second"))
    mirrors.files |= {"/first/digits.gz": first, "/second/digits.gz": CONTENT}
    assert fetch(NAME).read_bytes() == CONTENT
    assert mirrors.asked == ["/first/digits.gz", "/second/digits.gz"]


def test_no_mirror_has_it(mirrors, monkeypatch, tmp_path):
    monkeypatch.setitem(SOURCES, NAME, mirrors.source("first", "second"))
    mirrors.files["/second/digits.gz"] = b"eight"
    with pytest.raises(DataError, match=r"first/digits.gz \(404.* nor .*second/digits.gz \(SHA256") as caught:
        fetch(NAME)
    assert "PORTABLE_NN_DATA_DIR" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any((tmp_path / "portable_nn").iterdir())


def test_no_network(mirrors, monkeypatch):
    monkeypatch.setitem(SOURCES, NAME, (CHECKSUM, ("http://127.0.0.1:9/",)))
    with pytest.raises(DataError, match=r"could not be downloaded from http://127.0.0.1:9/digits.gz"):
        fetch(NAME)


def test_a_cache_that_cannot_be_written(mirrors, monkeypatch, tmp_path):
    monkeypatch.setitem(SOURCES, NAME, mirrors.source("first", "second"))
    mirrors.files["/first/digits.gz"] = CONTENT
    (tmp_path / "portable_nn").write_text("a file where a folder should be")
    with pytest.raises(
        DataError, match=r"digits.gz cannot be kept in .*portable_nn \(Not a directory\): make it a folder"
    ):
        fetch(NAME)


def test_what_is_in_the_cache_cannot_be_read(mirrors, monkeypatch, tmp_path):
    monkeypatch.setitem(SOURCES, NAME, mirrors.source("first", "second"))
    (tmp_path / "portable_nn" / NAME).mkdir(parents=True)
    with pytest.raises(DataError, match=r"digits.gz cannot be kept in .*portable_nn \(Is a directory\)"):
        fetch(NAME)


def test_a_cache_that_is_read_only_is_read(mirrors, monkeypatch, tmp_path):
    monkeypatch.setitem(SOURCES, NAME, mirrors.source("first"))
    cache = tmp_path / "portable_nn"
    cache.mkdir()
    (cache / NAME).write_bytes(CONTENT)
    cache.chmod(0o500)
    assert fetch(NAME).read_bytes() == CONTENT
    assert mirrors.asked == []


def test_no_home(mirrors, monkeypatch, tmp_path):
    pooch = pytest.importorskip("pooch", reason="pip install pooch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pooch, "os_cache", lambda name: Path("~/.cache", name))  # as it is where none is known
    monkeypatch.setitem(SOURCES, NAME, mirrors.source("first"))
    with pytest.raises(DataError, match=r"no home folder to keep digits.gz in: set HOME"):
        fetch(NAME)
    assert list(tmp_path.iterdir()) == []


FILLING = """
import sys
import pooch
from portable_nn.datasets._fetch import SOURCES, fetch

pooch.os_cache = lambda name: sys.argv[1]
SOURCES["digits.gz"] = sys.argv[2], (sys.argv[3],)
print(fetch("digits.gz").read_bytes().decode())
"""


def test_several_processes_fill_one_cache(mirrors, tmp_path):
    checksum, (mirror,) = mirrors.source("first")
    mirrors.files["/first/digits.gz"] = CONTENT
    command = [sys.executable, "-c", FILLING, str(tmp_path / "cache"), checksum, mirror]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert {process.communicate()[0] for process in processes} == {CONTENT + b"\n"}
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [NAME]


def test_without_pooch(monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match=r'pip install "portable-nn\[data\]", or set PORTABLE_NN_DATA_DIR'):
        fetch("sample_weight.pkl")


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setitem(SOURCES, NAME, (CHECKSUM, ()))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(
        DataError, match=r"names the folder .*, whose file digits.gz cannot be read \(No such file"
    ):
        fetch(NAME)
    (tmp_path / NAME).write_bytes(b"eight")
    with pytest.raises(DataError, match=f"not the original file: .*wanted {CHECKSUM}"):
        fetch(NAME)
    (tmp_path / NAME).write_bytes(CONTENT)
    assert fetch(NAME) == tmp_path / NAME


def test_pooch_is_imported_when_it_is_needed():
    code = "import sys, portable_nn.datasets; sys.exit('pooch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
