"""The package as a whole: what is public, what imports what, what is loaded, what a wheel of it holds."""

import ast
import inspect
import os
import re
import subprocess
import sysconfig
import zipfile
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from types import GenericAlias, ModuleType

import pytest
from commands import needs_the_books_weights
from helpers import run_python

import portable_nn as pnn

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "portable_nn"

PUBLIC = [
    "AccuracyError",
    "Activation",
    "BackendError",
    "ClusterError",
    "Comparison",
    "DataError",
    "Dense",
    "Evaluation",
    "Explanation",
    "Flatten",
    "FormatError",
    "InputError",
    "InputWarning",
    "Network",
    "NetworkError",
    "Normalize",
    "OutputError",
    "PlacementError",
    "PortableNNError",
    "Rescaling",
    "ShapeError",
    "Verification",
    "activations",
    "backends",
    "compare",
    "datasets",
    "evaluate",
    "explain",
    "from_keras",
    "from_sklearn",
    "from_torch",
    "infer",
    "load",
    "save",
]

FLOORS = (
    {
        "_arrays",
        "_display",
        "_options",
        "_typing",
        "activations",
        "errors",
        "metrics",
        "readers",
        "threads",
        "writing",
    },
    {"layers", "operators"},
    {"backends", "exporting", "expressions", "nodes", "rewriting", "symbols"},
    {"blank", "labels", "meaning", "network", "parts", "placing", "rounding", "verification"},
    {"datasets", "formats"},
    {
        "blocks",
        "clients",
        "cluster",
        "evaluation",
        "explanation",
        "inference",
        "results",
        "running",
        "sklearn",
        "sources",
        "streams",
    },
    {"comparison"},
    {"report"},
    {"__main__", "cli", "portable_nn"},  # all that is public together is for the command line alone
)
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}


def test_public_names():
    everything = {}
    exec("from portable_nn import *", everything)
    assert sorted(everything.keys() - {"__builtins__"}) == PUBLIC
    assert pnn.__all__ == PUBLIC
    assert sorted(dir(pnn)) == sorted([*PUBLIC, "__version__"])


def imported(body):
    """The names that statements import, each with its module."""
    statements = [
        node for node in body if isinstance(node, ast.ImportFrom) and node.module.startswith("portable_nn")
    ]
    return {alias.name: import_module(node.module) for node in statements for alias in node.names}


def test_type_checkers_see_the_names_that_are_there():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    blocks = {ast.unparse(node.test): node.body for node in tree.body if isinstance(node, ast.If)}
    names = imported(tree.body) | imported(blocks["TYPE_CHECKING"])
    assert sorted(names) == PUBLIC
    for name, module in names.items():
        assert getattr(pnn, name) is getattr(module, name)


def documented():
    """What is public, by name."""
    for name in PUBLIC:
        value = getattr(pnn, name)
        if isinstance(value, ModuleType):
            yield from ((f"{name}.{inner}", getattr(value, inner)) for inner in value.__all__)
        else:
            yield name, value


CALLABLES = {
    name: value for name, value in documented() if callable(value) and not isinstance(value, GenericAlias)
}


@pytest.mark.parametrize("name", CALLABLES)
def test_docstrings(name):
    value = CALLABLES[name]
    text = inspect.getdoc(value)
    assert re.match(r"[^\n]+\.(\n\n|$)", text), "the first line is a sentence, followed by a blank one"
    if inspect.isclass(value) and issubclass(value, Exception):
        return
    assert re.search(r"^Examples\n-{8}\n(.*\n)*?>>> ", text, re.MULTILINE)
    for parameter in (name for name in inspect.signature(value).parameters if not name.startswith("_")):
        assert re.search(
            rf"^(Parameters|Attributes)\n-+\n(.*\n)*?(\w+, )*\**{parameter}\b.* : ", text, re.MULTILINE
        )


def imported_rooms(path):
    """The rooms that a file imports from, in functions too; what is none is of the package itself."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module="portable_nn", names=names):
                modules = [f"portable_nn.{alias.name}" for alias in names]
            case ast.ImportFrom(module=module, level=0):
                modules = [module]
            case ast.ImportFrom():
                pytest.fail(f"{path}: write imports in full")
            case _:
                continue
        for module in modules:
            top, room, *_ = [*module.split("."), ""]
            if top == "portable_nn":
                yield room if room in FLOOR else top


def imports():
    """Room by room, the other rooms that it imports from."""
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        graph.setdefault(room, set()).update(set(imported_rooms(path)) - {room})
    return graph


def test_imports_go_down_or_stay_on_a_floor_without_a_circle():
    graph = imports()
    del graph["__init__"]
    assert graph.keys() <= FLOOR.keys(), "a new file or folder needs a floor"
    assert [(room, other) for room in graph for other in graph[room] if FLOOR[other] > FLOOR[room]] == []
    TopologicalSorter(graph).prepare()  # raises CycleError


def names_read(path):
    """What a file imports of this package, and what it reads as attributes of that, in full."""
    tree, known = ast.parse(path.read_text(encoding="utf-8")), {"portable_nn": "portable_nn"}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                known |= {alias.asname: alias.name for alias in names if alias.asname}
            case ast.ImportFrom(module=module, names=names):
                known |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in names}
    yield from known.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name, _, rest = ast.unparse(node).partition(".")
            yield f"{known.get(name, name)}.{rest}"


def test_no_room_reads_private_names_of_another():
    """`_arrays` and the like are rooms themselves, which all may enter."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in names_read(path):
            top, *parts = name.split(".")
            if top == "portable_nn" and parts[:1] != [own]:
                inner = parts[1:] if parts[:1] and parts[0] in FLOOR else parts
                if any(re.match("_(?!_)", part) for part in inner):
                    found.add((path.relative_to(PACKAGE).as_posix(), name))
    assert found == set()


def test_importing_the_package_loads_its_own_dependencies_at_most():
    code = (
        "import sys; before = set(sys.modules); import portable_nn; "
        "print(*{name.partition('.')[0] for name in sys.modules.keys() - before} - sys.stdlib_module_names)"
    )
    assert set(run_python("-c", code).split()) <= {"portable_nn", "numpy", "array_api_compat", "safetensors"}


def test_there_is_one_softmax():
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    assert sum(source.count("def softmax") for source in sources) == 1


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling", reason="pip install hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run_python("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    return next(folder.iterdir())


def test_what_the_wheel_holds(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    information = f"portable_nn-{pnn.__version__}.dist-info"
    files = {
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "LICENSE"
    }
    assert {name for name in names if not name.startswith(information)} == {
        path.relative_to(ROOT).as_posix() for path in files
    }
    assert names > {
        "portable_nn/py.typed",
        f"{information}/entry_points.txt",
    }
    assert {name for name in names if name.endswith("LICENSE")} == {
        f"{information}/licenses/LICENSE",
        f"{information}/licenses/portable_nn/datasets/data/LICENSE",
    }
    assert {name.rpartition("/")[2] for name in names if "/data/" in name} == {
        "LICENSE",
        "mnist.safetensors",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    }


@needs_the_books_weights
def test_the_embedded_weights_are_not_the_books():
    for ours, theirs in zip(pnn.load("mnist").layers, pnn.load("book").layers, strict=True):
        assert all((ours.arrays[name] != theirs.arrays[name]).all() for name in ours.arrays)


WITHOUT_NETWORK = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        raise OSError("there is no network")

sys.addaudithook(refuse)
"""


@pytest.fixture
def installed(wheel, tmp_path):
    """The scripts of a new virtual environment: the wheel, and what this one has besides; no network."""
    run_python("-m", "venv", "--without-pip", tmp_path)
    scripts = tmp_path / "bin"
    pip = "-m", "pip", "--quiet", "--python", scripts / "python"
    run_python(*pip, "install", "--no-deps", "--no-index", wheel)
    (site_packages,) = tmp_path.glob("lib/python*/site-packages")
    (site_packages / "without_network.py").write_text(WITHOUT_NETWORK)
    (site_packages / "besides.pth").write_text(f"{sysconfig.get_path('purelib')}\nimport without_network\n")
    return scripts


@pytest.mark.skipif(os.name == "nt", reason="knows where POSIX keeps scripts: run on Linux or macOS")
def test_the_wheel_runs_without_a_network(installed):
    def run(*command):
        return subprocess.run(
            command, cwd=installed, env=environment, capture_output=True, text=True, check=False
        )

    ours = ("PYTHON", "PORTABLE_NN")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    connecting = run(installed / "python", "-c", "import socket; socket.socket()")
    assert connecting.stderr.endswith("OSError: there is no network\n")
    location = run(installed / "python", "-c", "import portable_nn; print(portable_nn.__file__)").stdout
    assert Path(location).is_relative_to(installed.parent)
    pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')
    done = run(installed / "portable-nn", "evaluate")
    assert done.stdout.endswith("accuracy  0.9352\n"), done.stderr
