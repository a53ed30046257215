"""What the tests share: the backends of this machine, the networks, and the examples in the documentation."""

import gc
import os
import signal
from contextlib import nullcontext
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser
from sybil.sybil import SybilCollection

import portable_nn as pnn

os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")  # TF32 otherwise, on a GPU
os.environ.setdefault("KERAS_BACKEND", "torch")
SHARED = "PYTEST_XDIST_WORKER" in os.environ  # the cores, by processes whose idle threads would spin on them
THREADS = "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"
if SHARED:
    from threadpoolctl import threadpool_limits

    share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ |= {name: os.environ.get(name, f"{share}") for name in THREADS}
    threadpool_limits(int(os.environ[THREADS[0]]), user_api="blas")  # of NumPy, where a plugin has it loaded
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background: commands would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_collect_file = SybilCollection(
    [
        Sybil(parsers=[DocTestParser()], path="portable_nn", pattern="*.py"),
        Sybil(parsers=[PythonCodeBlockParser()], pattern="README.md"),
        Sybil(
            parsers=[PythonCodeBlockParser(), SkipParser()],
            path="docs",
            pattern="*.md",
            setup=lambda namespace: namespace.update(find_spec=find_spec),
        ),
    ]
).pytest()


def pytest_addoption(parser):
    parser.addoption(
        "--backend",
        action="append",
        default=[],
        metavar="NAME",
        help="test this library (torch) or device (torch:cuda:0) alone, and fail if it is missing; repeatable",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "dtypes(*names): the floating dtypes that the fixture `dtype` is to take")
    config.addinivalue_line("markers", "slow: takes long, and runs only where markers are named: -m slow")


def pytest_collection():
    """Imports and items stay, and to look through them for garbage takes a third of the time of collection."""
    gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config, items):
    """Without -m, what is slow is left out."""
    if not config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@cache
def statuses():
    """Those of all libraries, by their names."""
    return {status.name: status for status in pnn.backends.status()}


def found(name):
    """The status of a library."""
    return statuses()[name]


def specs(named):
    """The backends to test, as parameters: what is named, or all that are here and the reasons of the others."""
    for name in named or pnn.backends.BACKENDS:
        if name in pnn.backends.BACKENDS and found(name).state == "ready":
            for device in found(name).devices:
                yield pytest.param(f"{name}:{device}", id=f"{name}-{device}")
        elif named:
            yield pytest.param(name, id=name.replace(":", "-", 1))
        else:
            yield pytest.param(name, id=name, marks=pytest.mark.skip(f"{name}: {found(name).describe()}"))


def has(backend, dtype):
    """Whether the backend's device has the floating dtype of that name."""
    return backend.dtype_name(backend.dtype(dtype)) == dtype


def with_dtypes(parameter, names):
    """The parameter once for each of the dtypes that its device has; as it is where there is no device."""
    (spec,) = parameter.values
    try:
        backend = pnn.backends.get(spec)
    except pnn.BackendError:
        yield pytest.param(spec, None, id=parameter.id, marks=parameter.marks)
        return
    for name in filter(lambda name: has(backend, name), names):
        yield pytest.param(spec, name, id=f"{parameter.id}-{name}", marks=parameter.marks)


def pytest_generate_tests(metafunc):
    if "backend" not in metafunc.fixturenames:
        return
    parameters = list(specs(metafunc.config.getoption("--backend")))
    if "dtype" not in metafunc.fixturenames:
        metafunc.parametrize("backend", parameters, indirect=True, scope="session")
        return
    marker = metafunc.definition.get_closest_marker("dtypes")
    names = marker.args if marker else pnn.backends.FLOATS
    both = [new for parameter in parameters for new in with_dtypes(parameter, names)]
    metafunc.parametrize(("backend", "dtype"), both, indirect=["backend"], scope="session")


@pytest.fixture(scope="session")
def backend(request):
    """A library on one of its devices; an error where one that was named is missing.

    CuPy computes on the current device, whatever arrays it is given: a test's own sums need theirs current.
    """
    found = pnn.backends.get(request.param)
    with found.device if found.name == "cupy" else nullcontext():
        yield found


def library(name):
    """A fixture that gives the module of an array library."""

    @pytest.fixture(scope="session", name=name)
    def module(pytestconfig):
        named = pytestconfig.getoption("--backend")
        if named and name not in {spec.partition(":")[0] for spec in named}:
            pytest.skip(f"not among the backends to test: add --backend {name}")
        if found(name).state != "ready":
            (pytest.fail if named else pytest.skip)(f"{name}: {found(name).describe()}")
        return import_module(pnn.backends.BACKENDS[name].package)

    return module


torch, jax, dask, dpnp, array_api_strict = map(library, ("torch", "jax", "dask", "dpnp", "array_api_strict"))
cupy = library("cupy")


@pytest.fixture(scope="module")
def all_cores():
    """As many threads as a process has that shares its cores with no others, for tests of threads themselves."""
    if not SHARED:
        yield
        return
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(os.cpu_count(), user_api="blas"):
        for name in THREADS:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def mnist_test():
    """The 10,000 test images, uint8 of shape (10000, 784), and their labels."""
    return pnn.datasets.mnist("test")


@pytest.fixture(scope="session", params=["mnist", "book"])
def net(request):
    """A network that classifies 0.9352 of the test images rightly."""
    if request.param == "book" and not os.environ.get("PORTABLE_NN_DATA_DIR"):
        pytest.skip("the book's weights: set PORTABLE_NN_DATA_DIR to a folder with sample_weight.pkl")
    return pnn.load(request.param)
