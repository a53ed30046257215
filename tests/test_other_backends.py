"""Backends that are made elsewhere: the example of docs/backends.md, by its place and announced by a package."""

import json
import os
import pickle
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from array_api_compat import array_namespace
from helpers import run_python

import portable_nn as pnn
from portable_nn import backends
from portable_nn.__main__ import main

PAGE = Path(__file__).parents[1].joinpath("docs", "backends.md").read_text(encoding="utf-8")
CLASS, LOOP = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(ANNOUNCED,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
NET = pnn.Network([pnn.Dense(X[:3].T, None, "tanh"), pnn.Dense(X[:3], X[0], "softmax")])


def announce(folder, package, **entries):
    """What pip leaves of a package that announces backends."""
    information = folder / f"{package}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = (f"{name} = {value}" for name, value in entries.items())
    (information / "entry_points.txt").write_text("\n".join(["[portable_nn.backends]", *lines]))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that modules are found in, with the page's."""
    (tmp_path / "portable_abacus.py").write_text(CLASS)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def abacus(folder):
    """The page's package, installed."""
    announce(
        folder, "portable-abacus", **tomllib.loads(ANNOUNCED)["project"]["entry-points"]["portable_nn.backends"]
    )
    return folder


def check(bound, device):
    """A network that is bound to the page's backend: it takes its arrays, and those alone."""
    x = bound.backend.place(X)
    assert (str(bound.backend), x.device) == (f"abacus:{device}", device)
    found = bound(x)
    assert found.device == device
    assert bound.backend.to_numpy(found) == pytest.approx(NET(X), rel=1e-5)
    with pytest.raises(pnn.PlacementError, match=f"bound to abacus:{device}, and the input is on numpy"):
        bound(X)
    elsewhere = type(bound.backend).on({"bead0": "bead1", "bead1": "bead0"}[device]).place(X)
    with pytest.raises(pnn.PlacementError, match=f"bound to abacus:{device}, and the input is on abacus:bead"):
        bound(elsewhere)


@pytest.mark.parametrize(
    ("spec", "device"), [("portable_abacus:Abacus", "bead0"), ("portable_abacus:Abacus:bead1", "bead1")]
)
def test_a_class_by_its_place(folder, spec, device):
    assert backends.is_own(spec)
    check(NET.to(spec), device)
    assert NET.verify(spec).share < 1
    labels = NET.predict(X)
    assert pnn.evaluate(NET, X, labels, backend=spec).accuracy == 1
    for data in (X, backends.get(spec).place(X)):
        assert pnn.infer(NET, data, backend=spec).tolist() == labels.tolist()
        assert pnn.infer(NET, data).tolist() == labels.tolist()


def test_an_object_by_its_place(folder):
    (folder / "made.py").write_text("from portable_abacus import Abacus\nMADE = Abacus.on('bead1')\n")
    check(NET.to("made:MADE"), "bead1")
    assert backends.spec_of(backends.get("made:MADE")) == "portable_abacus:Abacus:bead1"
    with pytest.raises(pnn.BackendError, match="'made:MADE:bead0' is on its device already: leave 'bead0' out"):
        backends.get("made:MADE:bead0")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            "no_such_module:NAME",
            "unknown backend 'no_such_module:NAME'.*; of your own there is none, for no module 'no_such",
        ),
        ("portable_abacus:", "unknown backend 'portable_abacus:'"),
        ("portable_abacus:Nothing", "cannot be imported: module 'portable_abacus' has no attribute 'Nothing'"),
        ("portable_abacus:np", "is a module: name a portable_nn.backends.Backend"),
        ("portable_abacus:Abacus:bead7", "'abacus' has no device 'bead7': devices here: bead0, bead1"),
        ("broken:NAME", "'broken:NAME' cannot be imported: No module named 'not_here'"),
        ("leaving:NAME", "'leaving:NAME' cannot be imported"),
    ],
)
def test_what_names_no_backend(folder, spec, words):
    (folder / "broken.py").write_text("import not_here\n")
    (folder / "leaving.py").write_text("raise SystemExit\n")
    with pytest.raises(pnn.BackendError, match=words):
        backends.get(spec)


def test_a_bound_network_travels(folder):
    check(pickle.loads(pickle.dumps(NET.to("portable_abacus:Abacus:bead1"))), "bead1")


OVER_NUMPY = """
from portable_nn.backends import Backend

class Own(Backend):
    name, namespace, package = "own", "array_api_compat.numpy", "numpy"
"""


def test_another_backend_of_a_library_that_has_one(folder):
    """It takes the library's arrays where a network is bound to it, and is nobody's backend otherwise."""
    (folder / "over_numpy.py").write_text(OVER_NUMPY)
    np.testing.assert_allclose(NET.to("over_numpy:Own")(X), NET(X), rtol=1e-6)
    assert backends.of(X, array_namespace(X)) == backends.get("numpy")


WITH_KERNELS = """
class Halving(Own):
    @property
    def kernels(self):
        return {"tanh": lambda x: x / 2}
"""


def test_a_kernel_is_taken_wherever_its_activation_stands(folder):
    (folder / "halving.py").write_text(OVER_NUMPY + WITH_KERNELS)
    weight = X[:3].T
    for layers in ([pnn.Dense(weight, None, "tanh")], [pnn.Dense(weight), pnn.Activation("tanh")]):
        net = pnn.Network(layers).to("halving:Halving")
        np.testing.assert_allclose(net(X), X @ weight / 2, rtol=1e-5)


def test_without_a_name_nothing_travels(folder):
    backend = type("Local", (backends.Backend,), {"name": "local"})(np, None)
    with pytest.raises(pnn.BackendError, match="has no name that another process can import"):
        backends.spec_of(backend)


def test_a_package_announces_one(abacus):
    assert backends.names()[-1] == "abacus"
    assert not backends.is_own("abacus:bead1")
    status = backends.status()[-1]
    assert status == backends.Status("abacus", "ready", "7.0", ("bead0", "bead1"))
    assert [str(backend) for backend in backends.ready()][-2:] == ["abacus:bead0", "abacus:bead1"]
    check(NET.to("abacus"), "bead0")
    check(NET.to("abacus:bead1"), "bead1")
    check(pickle.loads(pickle.dumps(NET.to("abacus:bead1"))), "bead1")


def test_a_network_that_meets_announced_arrays_runs_by_it(abacus):
    """In a process that has not named the backend: `Backend` itself has no way to fetch such arrays."""
    code = f"""
import sys
sys.path[:0] = [{str(abacus)!r}, "tests"]
import portable_nn as pnn
print("portable_abacus" in sys.modules)
import abacus
net = pnn.Network([pnn.Activation("relu")])
print(pnn.infer(net, abacus.asarray([[-1.0, 2.0]]), outputs=True).tolist())
"""
    assert run_python("-c", code).splitlines() == ["False", "[[0.0, 2.0]]"]


def test_what_is_announced_and_cannot_be_had_is_told(folder):
    (folder / "crashing.py").write_text("raise OSError('libbeads.so: not found')\n")
    (folder / "leaves.py").write_text("raise SystemExit(1)\n")
    announce(
        folder,
        "mischief",
        crashes="crashing:Abacus",
        leaves="leaves:Abacus",
        absent="no_such_module:Abacus",
        number="math:pi",
        calculator="portable_abacus:Abacus",
        numpy="portable_abacus:Abacus",
    )
    found = {status.name: status for status in backends.status()[len(backends.BACKENDS) :]}
    assert {status.state for status in found.values()} == {"import failed"}
    assert {name: status.reason for name, status in found.items()} == {
        "crashes": "OSError: libbeads.so: not found",
        "leaves": "SystemExit: 1",
        "absent": "ModuleNotFoundError: No module named 'no_such_module'",
        "number": "math:pi is no subclass of portable_nn.backends.Backend",
        "calculator": "portable_abacus:Abacus has the name 'abacus', and is announced as 'calculator'",
        "portable_abacus:Abacus": "another library has its name, numpy",
    }
    for spec, reason in (("crashes:0", "OSError: libbeads"), ("number", "math:pi is no subclass")):
        with pytest.raises(pnn.BackendError, match=rf"'{spec}': import failed \({reason}"):
            backends.get(spec)
    assert backends.get("numpy").name == "numpy"


def test_an_announced_library_that_is_not_installed(folder):
    source = CLASS.replace('package: ClassVar[str] = "abacus"', 'package: ClassVar[str] = "no_such_package"')
    (folder / "lonely.py").write_text(source)
    announce(folder, "lonely", abacus="lonely:Abacus")
    assert backends.status()[-1] == backends.Status("abacus", "not installed", reason="pip install abacus")


def test_the_loop_of_the_page(abacus):
    seen = []

    class Loaded:
        def verify(self, backend):
            seen.append(str(backend))

    exec(LOOP.replace('pnn.load("mnist")', "loaded"), {"loaded": Loaded()})
    assert "abacus:bead1" in seen


def test_compare_measures_what_is_announced(abacus):
    found = pnn.compare(NET, X, backends=["abacus:bead1", "portable_abacus:Abacus"], batch_sizes=[1], budget=0.01)
    assert [(row.backend, row.state, row.symptom) for row in found.rows] == [
        ("abacus:bead1", "agrees", ""),
        ("portable_abacus:Abacus", "agrees", ""),
    ]


def test_the_command_line(abacus, monkeypatch, capsys):
    pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')
    monkeypatch.setattr(sys, "argv", ["portable-nn", "backends", "--json"])
    with pytest.raises(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out)[-1]["name"] == "abacus"
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(abacus), str(Path(__file__).parent)])
    completing = os.environ | {"PYTHONPATH": path, "_PORTABLE_NN_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    for typed, offered in {"aba": ["abacus"], "abacus:": ["abacus:bead0", "abacus:bead1"]}.items():
        words = {"COMP_WORDS": f"portable-nn evaluate -b {typed}"}
        assert run_python("-m", "portable_nn", env=completing | words).split() == offered


def test_the_command_line_finds_what_is_in_the_current_folder(folder, monkeypatch, capsys):
    pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(folder)])
    (folder / "portable_abacus.py").rename(folder / "only_here.py")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["portable-nn", "evaluate", "-b", "only_here:Abacus:bead1"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert "device    bead1\n" in capsys.readouterr().out
