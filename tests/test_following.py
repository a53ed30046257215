"""Everything follows the input: libraries in turn and at once, tracing, transforms, ONNX."""

import gc
import operator
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import TOLERANCE, check_beside, check_place, forward, placed, predicted

import portable_nn as pnn
from portable_nn import placing

COUNT = 64
DIGIT = 3


@pytest.fixture
def fresh():
    """A network that has placed no weights yet."""
    return pnn.load("mnist")


@pytest.fixture(scope="module")
def images(mnist_test):
    return mnist_test[0][:COUNT]


@pytest.fixture(scope="module")
def wanted(images):
    """The probabilities."""
    return forward(pnn.load("mnist"), images)


@pytest.fixture(scope="module")
def derivative(images):
    """That of one probability of the first image in each pixel, by central differences in float64."""
    net, step = pnn.load("mnist"), 0.01
    ahead, behind = (forward(net, images[0] + side * step * np.eye(784))[:, DIGIT] for side in (1, -1))
    return (ahead - behind) / (2 * step)


def check(outputs, wanted, dtype="float32"):
    """Probabilities, or their derivatives relative to the largest."""
    scale = min(1, np.abs(wanted).max())
    np.testing.assert_allclose(outputs, wanted, rtol=0, atol=TOLERANCE[dtype] * scale)


def ready():
    """All backends that are here."""
    return [
        pnn.backends.get(f"{status.name}:{device}")
        for status in pnn.backends.status()
        for device in status.devices
    ]


# Libraries


def test_one_network_on_all_libraries_in_turn(fresh, images, wanted):
    for _ in range(2):
        for backend in ready():
            x = placed(backend, images, "float32")
            outputs = fresh(x)
            check_beside(outputs, x, x.dtype, (COUNT, 10))
            check(backend.to_numpy(outputs), wanted)


def test_one_network_on_all_libraries_from_eight_threads_at_once(fresh, images, wanted):
    work = [
        (backend, placed(backend, images, dtype))
        for _ in range(4)
        for backend in ready()
        for dtype in ("float32", "uint8")
    ]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda item: (fresh(item[1]), predicted(fresh, *item)), work))
    for (backend, x), (outputs, labels) in zip(work, results, strict=True):
        check_place(outputs, x)
        check(backend.to_numpy(outputs), wanted)
        np.testing.assert_array_equal(labels, wanted.argmax(axis=-1))


def test_the_callers_array_is_left_as_it_was(backend, fresh, images):
    x = backend.place(images)
    fresh(x)
    np.testing.assert_array_equal(backend.to_numpy(x), images, strict=True)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: np.flip(np.flip(x).copy()),
        lambda x: np.broadcast_to(x, x.shape),
        lambda x: x.astype(x.dtype.newbyteorder(">")),
    ],
    ids=["fortran", "every other", "flipped", "read-only", "big-endian"],
)
def test_numpy_arrays_of_any_layout(fresh, images, wanted, change, dtype):
    x = change(images.astype(dtype))
    outputs = fresh(x)
    assert outputs.dtype == (dtype if "float" in dtype else np.float32)
    check(outputs, wanted, outputs.dtype.name)


class Wrapper:
    """An array of a library that conforms to the standard, and that nobody has heard of."""

    def __init__(self, array):
        self.array = array

    def __array_namespace__(self, api_version=None):
        return NAMESPACE

    def __getattr__(self, name):
        return getattr(self.array, name)


class Namespace:
    """That library: array_api_strict, each of its arrays in a wrapper."""

    __name__ = "unknown"

    def __getattr__(self, name):
        value = getattr(sys.modules["array_api_strict"], name)
        return wrapping(value) if callable(value) else value


NAMESPACE = Namespace()


def wrapping(function):
    """A function on wrapped arrays."""

    def on_wrapped(*arguments, **options):
        bare = [argument.array if isinstance(argument, Wrapper) else argument for argument in arguments]
        result = function(*bare, **options)
        return Wrapper(result) if hasattr(result, "shape") else result

    return on_wrapped


for name in ("add", "sub", "mul", "truediv", "matmul", "neg", "lt", "le", "ge", "getitem"):
    setattr(Wrapper, f"__{name}__", wrapping(getattr(operator, name)))
Wrapper.__radd__ = Wrapper.__add__
Wrapper.__rmul__ = Wrapper.__mul__


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_a_conforming_library_without_a_file_in_backends(array_api_strict, fresh, images, wanted, dtype):
    x = Wrapper(array_api_strict.asarray(images, dtype=getattr(array_api_strict, dtype)))
    outputs, labels = fresh(x), fresh.predict(x)
    assert isinstance(outputs, Wrapper)
    assert isinstance(labels, Wrapper)
    assert outputs.dtype == (array_api_strict.float32 if dtype == "uint8" else x.dtype)
    check(np.asarray(outputs.array), wanted)
    np.testing.assert_array_equal(np.asarray(labels.array), wanted.argmax(axis=-1))
    with pytest.raises(pnn.PlacementError, match="bound to numpy, and the input is on unknown"):
        fresh.to("numpy")(x)


def settings():
    """What libraries that are loaded keep globally, and a forward pass might change."""
    found = {"NumPy's errors": np.geterr()}
    if torch := sys.modules.get("torch"):
        found |= {
            "default dtype": torch.get_default_dtype(),
            "default device": torch.get_default_device(),
            "gradients": torch.is_grad_enabled(),
            "inference": torch.is_inference_mode_enabled(),
            "float32 products": torch.get_float32_matmul_precision(),
            "float32 products in cuBLAS": torch.backends.cuda.matmul.fp32_precision,
            "float32 products in oneDNN": torch.backends.mkldnn.matmul.fp32_precision,
            "threads": torch.get_num_threads(),
            "random state": torch.get_rng_state().tolist(),
        }
    if jax := sys.modules.get("jax"):
        found |= jax.config.values
    return found


def test_nothing_global_is_changed(backend, fresh, images):
    before = settings()
    fresh(backend.place(images))
    predicted(fresh, backend, placed(backend, images, "float32"))
    fresh.to(backend)(backend.place(images))
    assert settings() == before


# JAX


def test_two_jits_in_a_row_leak_no_tracer(jax, fresh, images, wanted):
    x = jax.numpy.asarray(images, dtype="float32")
    check(jax.jit(lambda x: fresh(x))(x), wanted)
    check(jax.jit(lambda x: fresh(x))(x), wanted)
    check(fresh(x), wanted)
    check(jax.jit(lambda x: fresh(x))(x), wanted)
    check(jax.jit(fresh)(jax.numpy.asarray(images)), wanted)
    for _ in range(2):
        np.testing.assert_array_equal(jax.jit(lambda x: fresh.predict(x))(x), wanted.argmax(axis=-1))


def test_transforms_of_jax_and_ordinary_calls_after(jax, fresh, images, wanted, derivative):
    x = jax.numpy.asarray(images, dtype="float32")
    check(jax.vmap(fresh)(x), wanted)
    check(jax.jit(jax.vmap(fresh))(x), wanted)
    gradient = jax.grad(lambda x: fresh(x)[DIGIT])
    check(gradient(x[0]), derivative)
    check(jax.jit(jax.vmap(gradient))(x)[0], derivative)
    check(jax.jit(jax.jacfwd(fresh))(x[0])[DIGIT], derivative)
    check(fresh(x), wanted)


def test_jax_where_the_callers_own_code_may_promote_no_ranks(jax):
    weight, values = np.eye(4, dtype=np.float32), np.arange(4, dtype=np.float32)
    layers = [
        pnn.Rescaling(values, values),
        pnn.Activation("prelu", slope=values),
        pnn.Normalize(values, values),
        pnn.Activation("tanh"),
        pnn.Dense(weight, values, "softmax"),
    ]
    x = jax.numpy.ones((2, 3, 4))
    for first in (lambda net: net, jax.jit, jax.vmap):
        net = pnn.Network(layers)
        with jax.numpy_rank_promotion("raise"):
            for call in (first(net), net):
                check(call(x), placing.plain(net.layers, np.asarray(x)))
            np.testing.assert_array_equal(net.predict(x), np.full((2, 3), 3))


@pytest.mark.parametrize("axes", [(), ("samples",), ("samples", None), (None, "samples")], ids=str)
def test_an_array_over_two_devices_of_jax(jax, fresh, images, wanted, axes):
    devices = jax.devices("cpu")[:2]
    if len(devices) < 2:
        pytest.skip(
            "one CPU device: XLA_FLAGS=--xla_force_host_platform_device_count=2 gives two, as in test_accuracy.py"
        )
    mesh = jax.sharding.Mesh(np.array(devices), ["samples"])
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
    x = jax.device_put(images.astype(np.float32), sharding)
    outputs = fresh(x)
    assert outputs.devices() == set(devices)
    check(outputs, wanted)


def cross_entropy(network, x):
    return -network(x)[:, DIGIT].mean()


def test_a_network_bound_to_jax_is_differentiable_in_its_weights(jax, images, wanted):
    x = jax.numpy.asarray(images, dtype="float32")
    weights = [layer.arrays for layer in pnn.load("mnist").to("jax").layers[1:]]
    activations = ["sigmoid", "sigmoid", "log_softmax"]

    def loss(weights):
        dense = (pnn.Dense(**arrays, activation=name) for arrays, name in zip(weights, activations, strict=True))
        return cross_entropy(pnn.Network([pnn.Rescaling(1 / 255), *dense]), x)

    for gradient in (jax.grad(loss), jax.jit(jax.grad(loss))):
        check(gradient(weights)[-1]["bias"], (wanted - np.eye(10)[DIGIT]).mean(axis=0))


def test_a_network_bound_to_jax_is_differentiable_in_some_of_its_weights(jax, images, wanted):
    net, x = pnn.load("mnist").to("jax"), jax.numpy.asarray(images, dtype="float32")
    check(jax.jit(net)(x), wanted)

    def loss(bias):
        last = pnn.Dense(net.layers[-1].weight, bias, "log_softmax")
        return cross_entropy(pnn.Network([*net.layers[:-1], last]), x)

    check(jax.grad(loss)(net.layers[-1].bias), (wanted - np.eye(10)[DIGIT]).mean(axis=0))


def test_a_network_bound_elsewhere_refuses_tracers(jax, images):
    net = pnn.load("mnist").to("numpy")
    with pytest.raises(pnn.PlacementError, match="bound to numpy, and the input is on jax"):
        jax.jit(net)(jax.numpy.asarray(images))


# PyTorch


# torch.compile traces through the lru_cache with which array_api_compat finds namespaces, and says so
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning")
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("state", ["fresh", "warm", "bound"])
def test_compiled_as_one_graph(torch, fresh, images, wanted, state, dtype):
    torch.compiler.reset()
    net = fresh.to("torch:cpu") if state == "bound" else fresh
    x = torch.from_numpy(images).to(getattr(torch, dtype))
    if state == "warm":
        net(x)
        net.predict(x)
    call, predict = (
        torch.compile(method, fullgraph=True, backend="aot_eager") for method in (net.__call__, net.predict)
    )
    check(call(x), wanted)
    np.testing.assert_array_equal(predict(x), wanted.argmax(axis=-1))
    check(net(x), wanted)
    np.testing.assert_array_equal(net.predict(x), wanted.argmax(axis=-1))


# torch.func.jacfwd makes its rules with torch.jit.script, which PyTorch itself deprecates
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_transforms_of_pytorch_and_ordinary_calls_after(torch, fresh, images, wanted, derivative):
    x = torch.from_numpy(images).to(torch.float32)
    check(torch.func.vmap(fresh)(x), wanted)
    gradient = torch.func.grad(lambda x: fresh(x)[DIGIT])
    check(gradient(x[0]), derivative)
    check(torch.func.vmap(gradient)(x)[0], derivative)
    check(torch.func.jacfwd(fresh)(x[0])[DIGIT], derivative)
    check(fresh(x), wanted)
    x.requires_grad_()
    fresh(x)[0, DIGIT].backward()
    check(x.grad[0], derivative)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "bfloat16"])
def test_inference_mode_and_a_backward_pass_after_it(torch, fresh, images, derivative, dtype):
    x = torch.from_numpy(images).to(getattr(torch, dtype))
    with torch.inference_mode():
        assert fresh(x).is_inference()
    y = fresh(x)
    assert not y.is_inference()
    if dtype != "uint8":
        x.requires_grad_()
        fresh(x)[0, DIGIT].backward()
        np.testing.assert_allclose(x.grad[0].double(), derivative, rtol=0, atol=0.1 * np.abs(derivative).max())


def of_torch(torch, weights, x):
    """The logarithms of the probabilities of a network of two layers, in the words of PyTorch."""
    F = torch.nn.functional
    w1, b1, w2, b2 = weights
    return F.log_softmax(F.linear(torch.sigmoid(F.linear(x / 255, w1.T, b1)), w2.T, b2), dim=-1)


@pytest.fixture
def weights(torch):
    """Parameters of a network of two layers, in float64."""
    torch.manual_seed(0)
    shapes = (784, 20), (20,), (20, 10), (10,)
    return [torch.nn.Parameter(torch.randn(shape, dtype=torch.float64) / 10) for shape in shapes]


def of_parameters(weights):
    w1, b1, w2, b2 = weights
    return pnn.Network([pnn.Rescaling(1 / 255), pnn.Dense(w1, b1, "sigmoid"), pnn.Dense(w2, b2, "log_softmax")])


def test_a_network_bound_to_pytorch_is_differentiable_in_its_weights(torch, weights, images, mnist_test):
    labels = torch.from_numpy(mnist_test[1][:COUNT])
    x = torch.from_numpy(images).to(torch.float64)
    net = of_parameters(weights)
    net(x)
    gradients = torch.autograd.grad(torch.nn.functional.nll_loss(net(x), labels), weights)
    of_reference = torch.nn.functional.nll_loss(of_torch(torch, weights, x), labels)
    for gradient, of_wanted in zip(gradients, torch.autograd.grad(of_reference, weights), strict=True):
        torch.testing.assert_close(gradient, of_wanted)


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
def test_training_in_place_is_seen_by_later_calls(torch, weights, images, mnist_test, dtype):
    labels = torch.from_numpy(mnist_test[1][:COUNT])
    x = torch.from_numpy(images).to(getattr(torch, dtype))
    net = of_parameters(weights)
    optimizer = torch.optim.SGD(weights, lr=0.5)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        losses.append(torch.nn.functional.nll_loss(net(x), labels))
        losses[-1].backward()
        optimizer.step()
        np.testing.assert_array_equal(net.predict(x), of_torch(torch, weights, x.double()).argmax(dim=-1))
        torch.testing.assert_close(net(x).double(), of_torch(torch, weights, x.double()), rtol=0, atol=1e-5)
    assert losses[-1] < losses[0]


def test_the_users_weights_may_change_their_dtype(torch, weights):
    net = of_parameters(weights)
    x = torch.ones(2, 784, dtype=torch.float64)
    before = net(x)
    torch.nn.ParameterList(weights).float()
    assert net.dtype == "float32"
    torch.testing.assert_close(net(x), before, rtol=0, atol=1e-4)
    torch.testing.assert_close(net(x.float()), before.float(), rtol=0, atol=1e-4)


# PyTorch's own compiler uses what PyTorch deprecates
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_more_is_compiled_than_one_piece_of_code_may_be(torch):
    torch.compiler.reset()
    net = pnn.Network([pnn.Dense(np.ones((4, 3)), None, "tanh")])
    compiled = net.compile()
    for shape in [(2, 4), (3, 4), (1, 4), (4,)]:
        x = torch.ones(shape)
        torch.testing.assert_close(compiled(x), net(x))
        torch.testing.assert_close(compiled.predict(x), net.predict(x))
        torch.testing.assert_close(compiled.logits(x), net.logits(x))


@pytest.mark.parametrize("value", [1e20, -1e20])
def test_the_derivative_of_gelu_tanh_where_cubes_overflow(torch, jax, value):
    net = pnn.Network([pnn.Dense(np.eye(1, dtype=np.float32), None, "gelu_tanh")])
    x = torch.tensor([value], requires_grad=True)
    net(x).sum().backward()
    assert x.grad.item() == (value > 0)
    assert jax.grad(lambda x: net(x).sum())(jax.numpy.asarray([value], dtype="float32"))[0] == (value > 0)


def test_jax_holds_no_input(jax, fresh, images):
    x = jax.numpy.asarray(images)
    fresh(x).block_until_ready()
    alive = weakref.ref(x)
    del x
    gc.collect()
    assert alive() is None


# ONNX


@pytest.mark.parametrize(("net", "dtype"), [("mnist", "float32"), ("book", "uint8")], indirect=["net"])
def test_traced_by_ndonnx_and_run_by_onnx_runtime(net, mnist_test, dtype):
    ndonnx = pytest.importorskip("ndonnx", reason="pip install ndonnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    images, labels = mnist_test
    wanted = forward(net, images)
    x = ndonnx.argument(shape=("N", 784), dtype=getattr(ndonnx, dtype))
    model = ndonnx.build({"x": x}, {"probabilities": net(x), "labels": net.predict(x)})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for size in (1, 7, 10_000):
        outputs, found = session.run(["probabilities", "labels"], {"x": images[:size].astype(dtype)})
        assert outputs.dtype == np.float32
        check(outputs, wanted[:size])
        np.testing.assert_array_equal(found, wanted[:size].argmax(axis=-1))
    assert np.mean(found == labels) == 0.9352


def test_activations_are_traced_by_ndonnx():
    ndonnx = pytest.importorskip("ndonnx", reason="pip install ndonnx")
    x = np.linspace(-4, 4, 9, dtype=np.float32)
    for name in ("erf", "erfc", "gelu", "ndtr", "sparsemax", "squareplus", "step"):
        net = pnn.Network([pnn.Dense(np.eye(9, dtype=np.float32), None, name)])
        assert net(ndonnx.argument(shape=("N", 9), dtype=ndonnx.float32)).dtype == ndonnx.float32
        np.testing.assert_allclose(net(ndonnx.asarray(x)).unwrap_numpy(), net(x), rtol=1e-5, atol=1e-6)


def test_one_network_takes_any_number_of_leading_axes(backend):
    """A forward pass that is kept for some is not taken for others."""
    net = pnn.Network([pnn.Dense(np.arange(12.0).reshape(4, 3), None, "tanh"), pnn.Dense(np.eye(3))])
    x = np.sin(np.arange(24)).reshape(2, 3, 4)
    wanted = net(x)
    for sample in (np.s_[:], np.s_[0], np.s_[0, :1], np.s_[0, 0], np.s_[:]):
        found = backend.to_numpy(net(placed(backend, x[sample], "float32")))
        np.testing.assert_allclose(found, wanted[sample], rtol=1e-5, atol=1e-6)
