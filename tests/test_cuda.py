"""What CUDA asks of this package, as far as it can be seen without a GPU: no substitute for a run on one.

CuPy's part runs on two devices, two GPUs or the stand-in (docs/gpu.md); what one GPU can show runs on one too.
PyTorch gives devices, dtypes and shapes of tensors on any device, and no values; JAX lowers a program for GPUs
that are not there.
"""

import json
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
from helpers import check_beside, forward

import portable_nn as pnn
from portable_nn import backends
from portable_nn.__main__ import main

FEW = 100
ATOL = 1e-5  # float32 probabilities


@pytest.fixture
def mnist():
    """A network that has placed no weights yet."""
    return pnn.load("mnist")


@pytest.fixture(scope="module")
def images(mnist_test):
    return mnist_test[0][:FEW]


@pytest.fixture(scope="module")
def wanted(images):
    return forward(pnn.load("mnist"), images)


def hidden(activation):
    """A network of random weights with this activation inside."""
    rng = np.random.default_rng(5)
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in ((6, 8), (8, 8), (8, 3))]
    return pnn.Network(
        pnn.Dense(weight, rng.standard_normal(weight.shape[1]).astype(np.float32), name)
        for weight, name in zip(weights, (activation, activation, "softmax"), strict=True)
    )


ACTIVATIONS = ["relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "softplus", "tanh", "sigmoid"]


# CuPy


@pytest.fixture
def gpu(cupy):
    """CuPy, with the first device current."""
    with cupy.cuda.Device(0):
        yield cupy


@pytest.fixture
def last(gpu):
    """The last device, which is not current where there are two."""
    return gpu.cuda.runtime.getDeviceCount() - 1


@pytest.fixture
def two(gpu, last):
    """CuPy, with two devices."""
    if not last:
        pytest.skip("it takes two GPUs; PYTHONPATH=$PWD/tests/cupy_standin needs none")
    return gpu


@pytest.fixture
def standin(two):
    """CuPy without a GPU: what only it counts, or takes for an error."""
    if "standin" not in two.__version__:
        pytest.skip("a real GPU does not tell: PYTHONPATH=$PWD/tests/cupy_standin")
    return two


def on(device, array):
    return backends.get(f"cupy:{device}").place(array)


def check(outputs, device, wanted):
    assert outputs.device.id == device
    np.testing.assert_allclose(backends.get(f"cupy:{device}").to_numpy(outputs), wanted, rtol=0, atol=ATOL)


def test_without_a_number_the_current_device_is_meant(two):
    assert str(backends.get("cupy")) == "cupy:0"
    with two.cuda.Device(1):
        assert str(backends.get("cupy")) == "cupy:1"
        (status,) = (status for status in backends.status() if status.name == "cupy")
        assert status.devices[:2] == ("1", "0")
    assert str(backends.get("cupy")) == "cupy:0"


@pytest.mark.parametrize("device", ["7", "-1", "cuda:0", "gpu", "0.0"])
def test_a_device_that_is_not_there(gpu, device):
    with pytest.raises(pnn.BackendError, match=f"backend 'cupy' has no device '{device}': devices here: 0"):
        backends.get(f"cupy:{device}")


def test_backends_hash_as_they_compare(two):
    found = {backends.of(on(device, np.ones(2)), backends.get("cupy").xp) for device in (0, 1, 0, 1)}
    assert found == {backends.get("cupy:0"), backends.get("cupy:1")}
    assert len(found) == 2
    assert len({hash(backend) for backend in found}) == 2


def test_keys_tell_device_and_dtype(two):
    key = backends.get("cupy").key
    arrays = [
        on(device, np.ones(2, dtype)) for _ in range(2) for device in (0, 1) for dtype in ("f4", "f8", "u1")
    ]
    assert [key(x) for x in arrays[:6]] == [key(x) for x in arrays[6:]]
    assert len({key(x) for x in arrays}) == 6


def test_both_devices_are_ready_whichever_is_current(gpu, last):
    for device in (0, last):
        with gpu.cuda.Device(device):
            assert backends.get("cupy:0").float32_precision() == "float32"
            assert backends.get(f"cupy:{last}").float32_precision() == "float32"


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_a_network_follows_its_input_whichever_device_is_current(gpu, last, mnist, images, wanted, dtype):
    for _ in range(2):
        for current in (0, last):
            for device in (0, last):
                x = on(device, images.astype(dtype))
                with gpu.cuda.Device(current):
                    outputs, labels = mnist(x), mnist.predict(x)
                    assert gpu.cuda.runtime.getDevice() == current
                assert outputs.dtype == ("float32" if dtype == "uint8" else dtype)
                assert (outputs.device.id, labels.device.id) == (device, device)
                if dtype != "float16":
                    check(outputs, device, wanted)
                    np.testing.assert_array_equal(labels.get(), wanted.argmax(axis=-1))


def test_an_error_leaves_the_current_device(gpu, last, mnist):
    with pytest.raises(pnn.ShapeError):
        mnist(on(last, np.ones((2, 3), np.float32)))
    assert gpu.cuda.runtime.getDevice() == 0


def test_where_the_device_is_current_none_is_switched(standin, mnist, images, monkeypatch):
    x = [on(device, images) for device in (0, 1)]
    mnist(x[0]), mnist(x[1])
    switches, switch = [], standin.cuda.runtime.setDevice
    monkeypatch.setattr(
        standin.cuda.runtime, "setDevice", lambda device: (switches.append(device), switch(device))
    )
    mnist(x[0])
    assert switches == []
    mnist(x[1])
    assert switches == [1, 0]


def test_a_bound_network_refuses_the_other_device(two, mnist, images, wanted):
    bound = mnist.to("cupy:1")
    check(bound(on(1, images)), 1, wanted)
    with pytest.raises(
        pnn.PlacementError, match=r"bound to cupy:1, and the input is on cupy:0: call net.to\('cupy:0'\)"
    ):
        bound(on(0, images))
    with pytest.raises(pnn.PlacementError, match="bound to cupy:1, and the input is on numpy"):
        bound(images)
    check(bound.to("cupy:0")(on(0, images)), 0, wanted)
    np.testing.assert_allclose(bound.to_numpy()(images), wanted, rtol=0, atol=ATOL)


def test_weights_on_two_devices_are_refused(two):
    layers = [pnn.Dense(on(device, np.eye(2)), on(device, np.zeros(2))) for device in (0, 1)]
    with pytest.raises(pnn.NetworkError, match="weights are on cupy:0 and cupy:1"):
        pnn.Network(layers)


def test_weights_of_the_users_own_are_used_where_they_are(gpu, last):
    layers = [pnn.Dense(on(last, 2 * np.eye(2)), on(last, np.ones(2)))]
    x = on(last, np.ones((3, 2)))
    outputs = pnn.Network(layers)(x)
    check_beside(outputs, x, x.dtype, (3, 2))
    assert outputs.tolist() == [[3, 3]] * 3


def test_copies_stay_on_their_device(gpu, last, mnist, images, wanted):
    bound = mnist.to(f"cupy:{last}")
    again = pickle.loads(pickle.dumps(bound))
    assert str(again.backend) == f"cupy:{last}"
    check(again(on(last, images)), last, wanted)


def test_threads_each_on_a_device(gpu, last, mnist, images, wanted):
    def work(task):
        current, device = task % 2 * last, task // 2 % 2 * last
        with gpu.cuda.Device(current):
            outputs = mnist(on(device, images))
            labels = mnist.predict(on(device, images))
            assert gpu.cuda.runtime.getDevice() == current
        return device, outputs, labels

    with ThreadPoolExecutor(8) as pool:
        for device, outputs, labels in pool.map(work, range(64)):
            check(outputs, device, wanted)
            np.testing.assert_array_equal(labels.get(), wanted.argmax(axis=-1))


@pytest.mark.parametrize("apart", [False, True], ids=["blocking", "non-blocking"])
@pytest.mark.parametrize("way", ["follows", "bound", "weights of its own"])
def test_weights_that_one_stream_placed_serve_all(gpu, last, mnist, images, wanted, way, apart):
    with gpu.cuda.Device(last):
        one, other = (gpu.cuda.Stream(non_blocking=apart) for _ in range(2))
        with one:
            x = on(last, images)
            net = mnist if way == "follows" else mnist.to(f"cupy:{last}")
            if way == "weights of its own":
                backend = backends.get(f"cupy:{last}")
                net = pnn.Network(layer.map(lambda array: backend.place(array)) for layer in net.layers)
            else:
                net(x)  # not fetched, which would wait for the stream
        for stream in (other, nullcontext(), gpu.cuda.Stream(non_blocking=True)):
            with stream:
                check(net(on(last, images)), last, wanted)
                check(net(x), last, wanted)


def test_results_are_fetched_behind_the_stream_that_makes_them(gpu, last, mnist, images, wanted):
    with gpu.cuda.Device(last), gpu.cuda.Stream(non_blocking=True):
        outputs = mnist(on(last, images))
        with gpu.cuda.Device(0), gpu.cuda.Stream(non_blocking=True):
            np.testing.assert_allclose(backends.get(f"cupy:{last}").to_numpy(outputs), wanted, rtol=0, atol=ATOL)


def test_synchronized_results_are_there_for_every_stream(gpu, last, mnist, images):
    backend = backends.get(f"cupy:{last}")
    with gpu.cuda.Device(last):
        with gpu.cuda.Stream(non_blocking=True):
            outputs = mnist(on(last, images))
        backend.synchronize(outputs)
        with gpu.cuda.Stream(non_blocking=True):
            assert (outputs >= 0).all()


def test_what_runs_out_of_memory_goes_on_with_less(gpu, last, mnist, mnist_test):
    images, labels = mnist_test
    pool, backend = gpu.get_default_memory_pool(), backends.get(f"cupy:{last}")
    with gpu.cuda.Device(last):
        backend.synchronize(mnist.predict(on(last, images[:1])))
        pool.free_all_blocks()
        pool.set_limit(size=pool.used_bytes() + 6_000_000)  # of the 16,000,000 that 4,000 images take
    try:
        with pytest.warns(RuntimeWarning, match=f"cupy:{last} ran out of memory on 4000 samples"):
            record = pnn.evaluate(mnist, images, labels, backend=f"cupy:{last}", batch_size=4000)
    finally:
        with gpu.cuda.Device(last):
            pool.set_limit(size=0)
    assert record.accuracy == 0.9352


def test_errors_that_mean_out_of_memory(gpu):
    means = backends.get("cupy").is_out_of_memory
    assert means(gpu.cuda.memory.OutOfMemoryError(1024, 0))
    assert means(gpu.cuda.runtime.CUDARuntimeError(2))
    assert means(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"))
    assert not means(gpu.cuda.runtime.CUDARuntimeError(101))
    assert not means(ValueError("out of range"))


def test_the_memory_that_was_taken_is_the_devices_own(two):
    before = [backends.get(f"cupy:{device}").peak_memory() for device in (0, 1)]
    x = on(1, np.zeros(before[1] + 1_000_000, np.uint8))  # more than the pool has to give
    after = [backends.get(f"cupy:{device}").peak_memory() for device in (0, 1)]
    assert after[1] >= x.nbytes
    assert after[0] == before[0]


def test_full_float32_and_the_users_setting_after_it(gpu):
    from cupy._core import _routines_linalg as routines

    float32 = np.dtype("float32")
    before = routines.get_compute_type(float32)
    routines.set_compute_type(float32, routines.COMPUTE_TYPE_TF32)
    try:
        with backends.get("cupy").full_float32():
            assert routines.get_compute_type(float32) == routines.COMPUTE_TYPE_FP32
        assert routines.get_compute_type(float32) == routines.COMPUTE_TYPE_TF32
    finally:
        routines.set_compute_type(float32, before)


@pytest.mark.parametrize("options", [{}, {"batch_size": 7}, {"per_sample": True}], ids=str)
def test_evaluate_on_a_device_that_is_not_current(gpu, last, mnist, mnist_test, options):
    images, labels = (array[:FEW] for array in mnist_test)
    right = pnn.evaluate(mnist, images, labels).correct
    for data in ((images, labels), (on(0, images), on(0, labels)), (on(last, images), on(last, labels))):
        record = pnn.evaluate(mnist, *data, backend=f"cupy:{last}", **options)
        assert (record.correct, record.backend, record.device) == (right, "cupy", str(last))
    assert gpu.cuda.runtime.getDevice() == 0


def test_explain_on_a_device_that_is_not_current(gpu, last, mnist, images):
    found = pnn.explain(mnist, on(last, images))
    assert (found.library, found.device, found.precision) == ("cupy", str(last), "float32")
    assert found.input_cast == "uint8 to float32"


def test_what_a_bound_network_says_and_saves(gpu, last, mnist, images, wanted, tmp_path):
    bound = mnist.to(f"cupy:{last}")
    assert bound.summary() == mnist.summary()
    assert repr(bound).endswith(f"bound to cupy:{last}")
    assert bound.astype("float64").dtype == "float64"
    pnn.save(bound, tmp_path / "net.safetensors")
    np.testing.assert_allclose(pnn.load(tmp_path / "net.safetensors")(images), wanted, rtol=0, atol=ATOL)


def test_compare_measures_in_processes_of_their_own(gpu, last, mnist, mnist_test):
    images, labels = (array[:FEW] for array in mnist_test)
    found = pnn.compare(mnist, images.astype(np.float32), labels, backends=[f"cupy:{last}"], batch_sizes=[10])
    (row,) = found.rows
    assert (row.backend, row.state, row.symptom) == (f"cupy:{last}", "agrees", "")
    assert row.measured.device == str(last)


def test_dask_over_cupy(gpu, dask, mnist, images, wanted):
    x = dask.from_array(on(0, images), chunks=(30, 784), asarray=False)
    for net in (mnist, mnist.to("dask:cupy:0")):
        outputs = net(x)
        assert type(outputs) is type(x)
        check(outputs.compute(scheduler="synchronous"), 0, wanted)
    assert {backends.of(x, backends.get("dask").xp)} == {backends.get("dask:cupy:0")}
    np.testing.assert_allclose(
        mnist(dask.from_array(images, chunks=(30, 784))).compute(), wanted, rtol=0, atol=ATOL
    )


def test_the_command_line(gpu, last, monkeypatch, capsys):
    pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["portable-nn", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        out, errors = capsys.readouterr()
        assert (stop.value.code or 0, errors) == (0, "")
        return out

    (status,) = (status for status in json.loads(run("backends", "--json")) if status["name"] == "cupy")
    assert (status["state"], status["devices"]) == ("ready", [str(device) for device in range(last + 1)])
    printed = run("evaluate", "--backend", f"cupy:{last}")
    assert "accuracy  0.9352" in printed
    assert f"device    {last}" in printed


# PyTorch


@pytest.fixture
def fake(torch):
    """A mode in which tensors have a device, a dtype and a shape, and no values."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode


@pytest.fixture
def cuda(torch):
    """A device that is not there where there is none: the last one otherwise, since fake tensors take no more."""
    return f"cuda:{torch.cuda.device_count() - 1}" if torch.cuda.is_available() else "cuda:1"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "uint8", "bool"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_pytorch_on_cuda(torch, fake, cuda, activation, dtype):
    net, came = hidden(activation), getattr(torch, dtype)
    for leading in ((), (7,), (2, 3)):
        with fake():
            x = torch.empty((*leading, 6), dtype=came, device=cuda)
            outputs, logits, labels = net(x), net.logits(x), net.predict(x)
        for result in (outputs, logits):
            check_beside(result, x, came if came.is_floating_point else torch.float32, (*leading, 3))
        check_beside(labels, x, torch.int64, leading)


def test_pytorch_on_cuda_bound(torch, fake, cuda, mnist):
    with fake():
        weights = pnn.Network(
            layer.map(lambda array: torch.asarray(array, device=cuda, copy=True)) for layer in mnist.layers
        )
        x = torch.empty((7, 784), device=cuda)
        assert str(weights.backend) == f"torch:{cuda}"
        check_beside(weights(x), x, torch.float32, (7, 10))
        for elsewhere in {"cuda:0", "cpu"} - {cuda}:
            with pytest.raises(
                pnn.PlacementError, match=f"bound to torch:{cuda}, and the input is on torch:{elsewhere}"
            ):
                weights(torch.empty((7, 784), device=elsewhere))


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_nothing_that_pytorch_made_up_is_kept(torch, fake, cuda, mnist, images, wanted, kind):
    device = cuda if kind == "cuda" else kind
    for _ in range(2):  # tensors of one mode are an error in another
        with fake():
            x = torch.empty((7, 784), device=device)
            check_beside(mnist(x), x, torch.float32, (7, 10))
            check_beside(mnist.predict(x), x, torch.int64, (7,))
        x = torch.asarray(images)
        np.testing.assert_allclose(mnist(x).numpy(), wanted, rtol=0, atol=ATOL)
        np.testing.assert_array_equal(mnist.predict(x).numpy(), wanted.argmax(axis=-1))


def test_an_array_of_no_dimension_is_placed_on_another_device(torch):
    """PyTorch 2.11 copies none there."""
    placed = backends.get("torch:meta").place(np.float32(1)[...])
    assert (placed.shape, placed.dtype, placed.device.type) == ((), torch.float32, "meta")


# JAX


def test_tf32_is_told_and_not_evaluated_with(jax, mnist, mnist_test):
    if jax.devices()[0].platform != "gpu":
        pytest.skip("it takes a GPU")
    images, labels = mnist_test
    with jax.default_matmul_precision("tensorfloat32"):
        assert pnn.explain(mnist, backends.get("jax").place(images[:FEW])).precision == "tf32"
        (row,) = pnn.compare(mnist, images, labels, backends=["jax"], batch_sizes=[FEW]).rows
        assert row.state == "agrees"
        with backends.get("jax").full_float32():
            assert backends.get("jax").float32_precision() == "float32"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "uint8"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_jax_lowers_for_gpus_and_tpus(jax, activation, dtype):
    net = hidden(activation)
    argument = jax.ShapeDtypeStruct((7, 6), getattr(jax.numpy, dtype))
    for function, shape in ((net, (7, 3)), (net.predict, (7,))):
        exported = jax.export.export(jax.jit(function), platforms=["cuda", "tpu"])(argument)
        assert exported.platforms == ("cuda", "tpu")
        (out,) = exported.out_avals
        assert out.shape == shape
        if function is net:
            assert out.dtype == ("float32" if dtype == "uint8" else getattr(jax.numpy, dtype))


def test_jax_lowers_for_batches_of_any_length(jax, mnist):
    argument = jax.ShapeDtypeStruct(jax.export.symbolic_shape("batch, 784"), np.uint8)
    exported = jax.export.export(jax.jit(mnist), platforms=["cuda"])(argument)
    (out,) = exported.out_avals
    assert str(out.shape) == "(batch, 10)"
