"""Backends: specs, what is here and what is not and why, placing and fetching, precision."""

import json
import os
import subprocess
import sys
from textwrap import dedent
from typing import ClassVar

import numpy as np
import pytest
from helpers import check_beside, placed, run_python

import portable_nn as pnn
from portable_nn import backends
from portable_nn.activations import PLAIN
from portable_nn.backends import BACKENDS, Backend

NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)


# Specs


def test_a_spec_names_library_and_device(backend):
    spec = str(backend)
    assert spec.partition(":")[0] == backend.name
    assert backends.get(spec) == backend
    assert backends.get(backend) is backend


def test_a_library_alone_means_its_default_device(backend):
    default = next(status for status in backends.status() if status.name == backend.name).devices[0]
    assert backends.get(backend.name) == backends.get(f"{backend.name}:{default}")


def test_the_backend_of_an_array_is_where_it_was_placed(backend):
    x = backend.place(NUMBERS)
    assert backends.of(x, backend.xp) == backend
    assert backends.device_of(x) == backend.device


@pytest.mark.parametrize("spec", ["tensorflow", "", "Torch", " numpy", ":cpu"])
def test_an_unknown_library(spec):
    names = "numpy, torch, cupy, jax, dask, dpnp, array_api_strict"
    message = rf"unknown backend '{spec}'( \(did you mean '\w+'\?\))?: choose one of {names}"
    with pytest.raises(pnn.BackendError, match=message):
        backends.get(spec)


def test_a_device_that_is_not_there(backend):
    devices = next(status for status in backends.status() if status.name == backend.name).devices
    with pytest.raises(pnn.BackendError, match=f"'{backend.name}.* has no device.*moon:7") as caught:
        backends.get(f"{backend.name}:moon:7")
    for device in devices:
        assert device in str(caught.value)


def test_cuda_without_a_gpu(torch):
    if torch.cuda.is_available():
        pytest.skip("an NVIDIA GPU is here: CUDA_VISIBLE_DEVICES= hides it")
    for spec in ("torch:cuda", "torch:cuda:0"):
        with pytest.raises(pnn.BackendError, match=r"backend 'torch' has no device 'cuda.*devices here: cpu"):
            backends.get(spec)


def test_cuda_with_a_number_too_many(torch):
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU: run it where torch.cuda.is_available()")
    with pytest.raises(pnn.BackendError, match=r"has no device 'cuda:99'.*cuda:0"):
        backends.get("torch:cuda:99")


# Status


class Made(Backend):
    """A library that a test makes up."""

    namespace: ClassVar[str] = "array_api_compat.numpy"
    package: ClassVar[str] = "numpy"


def register(monkeypatch, name, **attributes):
    """Add a library, whose name no other test may use: that it cannot be imported is remembered."""
    made = type("Made", (Made,), attributes | {"name": name})
    monkeypatch.setitem(BACKENDS, name, made)
    return lambda: next(status for status in backends.status() if status.name == name)


def test_ready(backend):
    status = next(status for status in backends.status() if status.name == backend.name)
    assert status.state == "ready"
    assert status.version
    assert status.reason == ""
    assert status.describe() == "ready"


def test_status_knows_all_libraries():
    assert [status.name for status in backends.status()] == list(BACKENDS)
    assert backends.status()[0] == backends.Status("numpy", "ready", np.__version__, ("cpu",))


def test_every_device_that_is_ready():
    found = list(backends.ready())
    wanted = [status.name for status in backends.status() for _ in status.devices]
    assert [backend.name for backend in found] == wanted
    for backend in found:
        x = backend.place(np.ones(2, dtype=np.float32))
        assert backend.to_numpy(backend.entered(lambda x: x + 1)(x)).tolist() == [2, 2]


def test_not_installed(monkeypatch):
    found = register(monkeypatch, "absent", package="no_such_package", install="'no-such-package[all]'")
    command = "pip install 'no-such-package[all]'"
    assert found() == backends.Status("absent", "not installed", reason=command)
    with pytest.raises(pnn.BackendError, match=r"'absent:cpu': not installed \(pip install 'no-such.*") as caught:
        backends.get("absent:cpu")
    others = str(caught.value).partition("; installed here: ")[2].split(", ")
    assert others == [status.name for status in backends.status() if status.state != "not installed"]


def test_a_folder_of_that_name_is_no_installation(monkeypatch, tmp_path):
    (tmp_path / "mere_folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    found = register(monkeypatch, "folder", package="mere_folder", install="mere-folder")
    assert found() == backends.Status("folder", "not installed", reason="pip install mere-folder")


def test_no_device(monkeypatch):
    found = register(monkeypatch, "idle", devices=classmethod(lambda cls: []))
    assert found() == backends.Status("idle", "no device", np.__version__, reason="it reports none")
    with pytest.raises(pnn.BackendError, match="'idle' has no device"):
        backends.get("idle")


def test_no_driver(monkeypatch):
    def devices(cls):
        raise OSError("libdriver.so: cannot open\nand more")

    found = register(monkeypatch, "driverless", devices=classmethod(devices))
    reason = "OSError: libdriver.so: cannot open"
    assert found() == backends.Status("driverless", "no device", np.__version__, reason=reason)
    with pytest.raises(pnn.BackendError, match="backend 'driverless' has no device: OSError: libdriver"):
        backends.get("driverless")


def test_a_device_counts_only_once_a_product_ran_on_it(monkeypatch):
    def place(self, array, **options):
        if self.device == "broken":
            raise RuntimeError("no kernel image is available for execution on the device")
        return array

    found = register(monkeypatch, "halved", devices=classmethod(lambda cls: ["broken", "whole"]), place=place)
    assert found() == backends.Status("halved", "ready", np.__version__, ("whole",))
    with pytest.raises(pnn.BackendError, match="no matrix product ran on it: RuntimeError: no kernel image"):
        backends.get("halved:broken")
    register(monkeypatch, "broken", devices=classmethod(lambda cls: ["broken"]), place=place)
    assert backends.status()[-1].state == "no device"
    assert backends.status()[-1].reason.startswith("broken: RuntimeError: no kernel image")


def test_a_device_that_cannot_be_opened(monkeypatch):
    def parse(cls, device):
        raise OSError(f"{device} is busy")

    found = register(monkeypatch, "busy", devices=classmethod(lambda cls: ["disk"]), parse=classmethod(parse))
    reason = "disk: OSError: disk is busy"
    assert found() == backends.Status("busy", "no device", np.__version__, reason=reason)


def test_a_package_that_breaks_on_import(tmp_path):
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("raise OSError('libxla.so: undefined symbol')")
    code = """
        import dataclasses, json, portable_nn as pnn
        try:
            pnn.backends.get("jax")
        except pnn.BackendError as error:
            print(json.dumps([str(error), *map(dataclasses.asdict, pnn.backends.status())]))
    """
    error, *found = json.loads(run_alone(code, PYTHONPATH=str(tmp_path)))
    (jax,) = (status for status in found if status["name"] == "jax")
    reason = "OSError: libxla.so: undefined symbol"
    assert jax == {"name": "jax", "state": "import failed", "version": None, "devices": [], "reason": reason}
    assert error.startswith(f"backend 'jax': import failed ({reason}); installed here: numpy")


def test_a_backend_that_is_named_to_pytest_and_missing_fails():
    options = ["-p", "no:cacheprovider", "--backend", "tensorflow", "-k", "test_ready"]
    command = [sys.executable, "-m", "pytest", *options, __file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "unknown backend 'tensorflow': choose one of numpy" in done.stdout


# Loading


def run_alone(code, **environment):
    """What a program prints that runs in a process of its own, warnings being errors."""
    return run_python("-W", "error", "-c", dedent(code), env=os.environ | environment)


def test_no_library_is_loaded_before_its_arrays_come():
    code = """
        import sys
        import numpy as np
        import portable_nn as pnn
        net = pnn.load("mnist")
        images, labels = pnn.datasets.mnist("test")
        net(images), net.predict(images), net.to("numpy")(images)
        assert pnn.evaluate(net, images, labels).accuracy == 0.9352
        heavy = {"torch", "jax", "cupy", "dask", "dpnp", "array_api_strict", "ndonnx", "matplotlib", "pandas"}
        print(sorted(heavy & set(sys.modules)))
    """
    assert run_alone(code) == "[]\n"


HEAVY = {"torch", "jax", "cupy", "dask", "dpnp", "array_api_strict", "matplotlib"}


def test_one_library_loads_no_more_than_by_itself(backend):
    code = f"""
        import sys, {backend.package}
        by_itself = {HEAVY} & set(sys.modules)
        import portable_nn as pnn
        backend = pnn.backends.get("{backend}")
        pnn.load("mnist")(backend.place(pnn.datasets.mnist("test")[0][:2]))
        print(*sorted({HEAVY} & set(sys.modules) - by_itself))
    """
    assert run_alone(code) == "\n"


# Placing and fetching


@pytest.mark.parametrize("kind", ["bool", "uint8", "int32", "float32"])
def test_placing_copies_and_fetching_gives_the_same(backend, kind):
    numbers = NUMBERS.astype(kind)
    x = backend.place(numbers)
    assert x.dtype == getattr(backend.xp, kind)
    before = numbers.copy()
    numbers[...] = 1
    backend.synchronize(x)
    fetched = backend.to_numpy(x)
    assert isinstance(fetched, np.ndarray)
    np.testing.assert_array_equal(fetched, before, strict=True)


def test_placing_takes_what_numpy_cannot_write(backend):
    numbers = NUMBERS.copy()
    numbers.setflags(write=False)
    for share in (False, True):
        x = backend.place(numbers, share=share)
        np.testing.assert_array_equal(backend.to_numpy(x), NUMBERS)
        np.testing.assert_array_equal(backend.to_numpy(backend.place(numbers.T, share=share)), NUMBERS.T)


def test_dtypes_by_name(backend, dtype):
    x = placed(backend, NUMBERS, dtype)
    assert backend.dtype(dtype) == x.dtype
    assert backend.dtype_name(x.dtype) == dtype
    fetched = backend.to_numpy(x)
    np.testing.assert_array_equal(fetched, NUMBERS)
    assert fetched.dtype == ("float32" if dtype == "bfloat16" else dtype)


def test_a_dtype_that_a_device_has_not_becomes_its_default(array_api_strict):
    for device in ("no_float64", "no_x64"):
        assert backends.get(f"array_api_strict:{device}").dtype("float64") == array_api_strict.float32
    assert backends.get("array_api_strict:device1").dtype("float16") == array_api_strict.float64
    assert backends.get("array_api_strict:device2").dtype("float16") == array_api_strict.float32


def test_a_tensor_that_requires_gradients_is_fetched(torch):
    x = torch.ones(2, requires_grad=True) * 2
    np.testing.assert_array_equal(backends.get("torch").to_numpy(x), [2, 2])


def test_a_tensor_whose_signs_are_turned_later_is_fetched(torch):
    x = torch.tensor([[1 - 2j, 3 + 4j]]).conj().imag
    assert x.is_neg()
    np.testing.assert_array_equal(pnn.backends.get("torch").to_numpy(x), [[2, -4]])


@pytest.mark.parametrize("dtype", ["int2", "int4", "uint2", "uint4"])
def test_integers_of_jax_that_numpy_lacks_are_fetched(jax, dtype):
    labels = np.asarray([1, 0])
    x = jax.numpy.asarray([[0, 1, 0], [1, 0, 0]], dtype=dtype)
    net = pnn.Network([pnn.Dense(np.eye(3), None, "softmax")])
    assert pnn.infer(net, x, backend="numpy").tolist() == [1, 0]
    assert pnn.evaluate(net, np.asarray(x.astype("int8")), x[:, 1]).correct == 2
    options = {"backends": ["numpy", "jax"], "batch_sizes": [2], "budget": 0.01, "in_process": True}
    assert [row.state for row in pnn.compare(net, x, labels, **options).rows] == ["agrees"] * 2


def test_meta_tensors_have_shapes_only(torch):
    net, x = pnn.load("mnist"), torch.empty((7, 784), device="meta")
    for outputs in (net(x), net.to("torch:meta")(x)):
        check_beside(outputs, x, torch.float32, (7, 10))
    assert tuple(net.predict(x).shape) == (7,)
    with pytest.raises(pnn.ShapeError, match=r"\(\.\.\., 784\), got \(7, 783\)"):
        net(x[:, 1:])
    with pytest.raises(pnn.BackendError, match="on torch:meta have shapes and no values: compute on another"):
        pnn.infer(net, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_meta_tensors_through_each_activation(torch, dtype):
    x = torch.empty((7, 4), device="meta", dtype=getattr(torch, dtype))
    for name in PLAIN:
        check_beside(pnn.Network([pnn.Dense(np.eye(4)), pnn.Activation(name)])(x), x, x.dtype, (7, 4))


def test_full_memory_is_told_from_other_errors_of_jax(jax):
    is_full = backends.get("jax:cpu").is_out_of_memory
    with pytest.raises(RuntimeError) as caught:
        jax.numpy.zeros(2**60, "uint8", device=jax.devices("cpu")[0])
    assert is_full(caught.value)
    with pytest.raises(TypeError) as caught:
        jax.numpy.zeros(2) @ jax.numpy.zeros(3)
    assert not is_full(caught.value)


def test_what_fetches_values_cannot_be_traced(torch, jax):
    """By no function that does; the forward pass can."""
    net, x, labels = pnn.Network([pnn.Dense(np.eye(3), None, "softmax")]), np.eye(3, dtype=np.float32), [0, 1, 2]
    fetching = (
        lambda x: pnn.infer(net, x),
        lambda x: pnn.infer(net, x, backend="numpy"),
        lambda x: pnn.infer(net, [x, x], outputs=True),
        lambda x: pnn.evaluate(net, x, labels).correct,
        lambda x: pnn.compare(net, x, backends=["numpy"]),
    )
    for function in fetching:
        for traced in (
            lambda: jax.jit(function)(x),  # noqa: B023
            lambda: jax.vmap(function)(x[None]),  # noqa: B023
            lambda: torch.func.vmap(function)(torch.asarray(x)[None]),  # noqa: B023
        ):
            with pytest.raises(pnn.BackendError, match=r"no values that can be fetched: call net\(x\) or"):
                traced()
    assert jax.jit(net.predict)(x).tolist() == labels


# What may be kept


def test_ordinary_arrays_are_kept(backend):
    assert backend.keeps(backend.place(NUMBERS))


def test_tracers_of_jax_are_not_kept(jax):
    backend, kept = backends.get("jax"), []
    jax.jit(lambda x: kept.append(backend.keeps(x)) or x)(NUMBERS)
    jax.grad(lambda x: kept.append(backend.keeps(x)) or x.sum())(NUMBERS)
    assert kept == [False, False]


def test_wrapped_tensors_of_pytorch_are_not_kept(torch):
    backend, kept = backends.get("torch"), []
    torch.func.vmap(lambda x: kept.append(backend.keeps(x)) or x)(torch.ones(2))
    torch.func.grad(lambda x: kept.append(backend.keeps(x)) or x)(torch.ones(()))
    assert kept == [False, False]


# Precision


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_full_float32_in_pytorch_and_the_users_setting_after_it(torch, precision):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        settings = [torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision]
        with backends.get("torch").full_float32():
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        assert torch.get_float32_matmul_precision() == precision
        after = [torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision]
        assert after == settings
    finally:
        torch.set_float32_matmul_precision(before)


def test_full_float32_in_jax_and_the_users_setting_after_it(jax):
    with jax.default_matmul_precision("bfloat16"):
        with backends.get("jax").full_float32():
            assert jax.config.jax_default_matmul_precision == "highest"
            lowered = jax.jit(lambda x: x @ x).lower(np.ones((2, 2), dtype=np.float32)).as_text()
            assert "precision = [HIGHEST, HIGHEST]" in lowered
        assert jax.config.jax_default_matmul_precision == "bfloat16"


def test_settings_come_back_after_an_error(backend):
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    before = torch and torch.get_float32_matmul_precision(), jax and jax.config.jax_default_matmul_precision
    with pytest.raises(ZeroDivisionError), backend.full_float32():
        raise ZeroDivisionError
    after = torch and torch.get_float32_matmul_precision(), jax and jax.config.jax_default_matmul_precision
    assert after == before


def test_products_in_full_float32_are_those_of_float64_to_its_roundings(backend):
    numbers = np.random.default_rng(3).uniform(1, 2, (64, 64)).astype(np.float32)
    with backend.full_float32():
        product = backend.to_numpy(backend.place(numbers) @ backend.place(numbers))
        assert backend.float32_precision() == "float32"
    exact = numbers.astype(np.float64) @ numbers.astype(np.float64)
    np.testing.assert_allclose(product, exact, rtol=1e-5)
