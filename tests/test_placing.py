"""What may be kept between calls: never what a trace, a transform or a mode made, whichever call comes first."""

import os
import re
from textwrap import dedent

import numpy as np
import pytest
from helpers import check_beside, forward, run_python

import portable_nn as pnn

RANDOM = np.random.default_rng(3)
WEIGHT, BIAS = RANDOM.normal(size=(4, 3)).astype(np.float32), RANDOM.normal(size=3).astype(np.float32)
X = RANDOM.normal(size=(5, 4)).astype(np.float32)


def fresh():
    """A network that has met no array."""
    eyes = [
        pnn.Dense(np.eye(3, dtype=np.float32), None, name) for name in ("identity", "relu", "gelu", "softmax")
    ]
    return pnn.Network([pnn.Dense(WEIGHT, BIAS, "tanh"), *eyes])


def check(torch, net):
    """Check that ordinary calls give ordinary tensors, right values, and a backward pass."""
    for dtype in (torch.float32, torch.float64):
        x = torch.from_numpy(X).to(dtype).requires_grad_()
        outputs = net(x)
        assert type(outputs) is torch.Tensor
        check_beside(outputs, x, dtype, (5, 3))
        np.testing.assert_allclose(outputs.detach(), forward(net, X), rtol=1e-5)
        outputs[0, 0].backward()
        assert torch.isfinite(x.grad).all()
        assert torch.any(x.grad != 0)
        labels = net.predict(x)
        assert type(labels) is torch.Tensor
        np.testing.assert_array_equal(labels, forward(net, X).argmax(axis=-1))
        np.testing.assert_allclose(net(x[:1]).detach(), forward(net, X[:1]), rtol=1e-5)


def fake(torch, net):
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    with FakeTensorMode():
        for device in ("cpu", "cuda:1"):
            x = torch.empty((5, 4), device=device)
            outputs = net(x)
            assert isinstance(outputs, FakeTensor)
            assert (outputs.device, outputs.dtype, outputs.shape) == (x.device, x.dtype, (5, 3))
            assert net.predict(x).device == x.device


def dispatch_mode(torch, net):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Zeros(TorchDispatchMode):
        """Like modes that record, sample or perturb: results are no longer those of the functions."""

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            return torch.zeros_like(result) if isinstance(result, torch.Tensor) else result

    with Zeros():
        net(torch.from_numpy(X))
        net.predict(torch.from_numpy(X))


def function_mode(torch, net):
    with torch.device("meta"):
        net(torch.from_numpy(X))
        net.predict(torch.from_numpy(X))
        net(torch.from_numpy(X).double())


def inference_mode(torch, net):
    with torch.inference_mode():
        net(torch.from_numpy(X))
        net.predict(torch.from_numpy(X).double())


def transforms(torch, net):
    x = torch.from_numpy(X)
    torch.func.vmap(net)(x)
    torch.func.grad(lambda x: net(x).sum())(x)
    torch.func.jacrev(net)(x.double())
    torch.func.jvp(net, (x,), (x,))
    torch.func.functionalize(net)(x)


def jit_trace(torch, net):
    for rows in (1, 5):
        traced = torch.jit.trace(net.__call__, torch.from_numpy(X[:rows]))
        np.testing.assert_allclose(traced(torch.from_numpy(X[:2])), forward(net, X[:2]), rtol=1e-5)


def export(torch, net):
    class Module(torch.nn.Module):
        def forward(self, x):
            return net(x)

    exported = torch.export.export(Module(), (torch.from_numpy(X),))
    np.testing.assert_allclose(exported.module()(torch.from_numpy(X)), forward(net, X), rtol=1e-5)


def make_fx(torch, net):
    from torch.fx.experimental.proxy_tensor import make_fx

    for mode, rows in (("real", 5), ("fake", 5), ("real", 1)):
        trace = make_fx(lambda x: net(x), tracing_mode=mode, _allow_non_fake_inputs=True)
        graph = trace(torch.from_numpy(X[:rows]))
        np.testing.assert_allclose(graph(torch.from_numpy(X)), forward(net, X), rtol=1e-5)


def compiled(torch, net):
    torch.compiler.reset()
    call = torch.compile(net.__call__, fullgraph=True, backend="aot_eager")
    np.testing.assert_allclose(call(torch.from_numpy(X)), forward(net, X), rtol=1e-5)


MADE_BY = [fake, dispatch_mode, function_mode, inference_mode, transforms, jit_trace, export, make_fx, compiled]


# What PyTorch itself deprecates in its tracers, and says of the lru_cache of array_api_compat
@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean")
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning")
@pytest.mark.parametrize("state", ["fresh", "warm", "bound"])
@pytest.mark.parametrize("made_by", MADE_BY, ids=lambda made_by: made_by.__name__)
def test_nothing_that_pytorch_made_under_a_mode_or_a_trace_is_kept(torch, made_by, state):
    net = fresh()
    if state == "warm":
        check(torch, net)
    if state == "bound" and made_by is not fake:  # a network bound to the CPU refuses cuda:1
        net = net.to("torch:cpu")
    made_by(torch, net)
    check(torch, net)
    made_by(torch, net)
    check(torch, net)


def test_jax_with_and_without_64_bits(jax):
    code = """
        import jax, numpy as np, portable_nn as pnn
        W = np.random.default_rng(0).normal(size=(4, 3))
        X = np.random.default_rng(1).normal(size=(5, 4))
        net = pnn.Network([pnn.Dense(W, None, "tanh"), pnn.Dense(np.eye(3))])
        for on in (False, True, False, True):
            jax.config.update("jax_enable_x64", on)
            float_ = "float64" if on else "float32"
            bytes_ = jax.numpy.asarray([[1, 2, 3, 4]], "uint8")
            for x in (jax.numpy.asarray(X), bytes_, jax.numpy.asarray(X, "float32")):
                y = net(x)
                assert y.dtype == ("float32" if x.dtype == "float32" else float_), (on, x.dtype, y.dtype)
                wanted = np.tanh(np.asarray(x, "float64") @ W)
                np.testing.assert_allclose(y, wanted, rtol=1e-12 if y.dtype == "float64" else 1e-5)
                assert net.predict(x).dtype == ("int64" if on else "int32")
        print("done")
    """
    assert run_python("-W", "error", "-c", dedent(code), env=os.environ) == "done\n"


def test_jax_on_a_mesh_and_beside_another_device(jax):
    """What the caller committed to no device, the network does not."""
    code = """
        import jax, numpy as np, portable_nn as pnn
        W = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
        net = pnn.Network([pnn.Dense(W, None, "tanh")])
        x = jax.numpy.ones((6, 4))
        wanted = np.tanh(np.asarray(x) @ W)
        first, second = jax.devices()
        mesh = jax.make_mesh((2,), ("samples",))
        for _ in range(2):
            with jax.set_mesh(mesh):
                for found in net(x), jax.jit(net)(x):
                    np.testing.assert_allclose(found, wanted, rtol=1e-5)
                assert net.predict(x).shape == (6,)
            beside = net(x) + jax.device_put(np.zeros((6, 3), "float32"), second)
            assert beside.devices() == {second}
            for device in first, second:
                assert net(jax.device_put(x, device)).devices() == {device}
                assert net.to(device)(jax.device_put(x, device)).devices() == {device}
        print("done")
    """
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    assert run_python("-W", "error", "-c", dedent(code), env=env) == "done\n"


def test_the_default_device_is_that_of_the_call(torch):
    with torch.device("meta"):
        assert str(pnn.backends.get("torch")) == "torch:meta"
    assert str(pnn.backends.get("torch")) == "torch:cpu"
    code = """
        import torch, portable_nn as pnn
        with torch.device("meta"):
            pnn.backends.get("torch")
        print(pnn.backends.get("torch"), pnn.backends.get("torch:cpu"))
    """
    assert run_python("-W", "error", "-c", dedent(code), env=os.environ) == "torch:cpu torch:cpu\n"


class Device:
    """As CuPy's: it compares, and does not hash."""

    __hash__ = None

    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return isinstance(other, Device) and self.number == other.number

    def __repr__(self):
        return f"<Device {self.number}>"


def test_devices_that_cannot_be_hashed(array_api_strict):
    with pytest.raises(TypeError, match="unhashable"):
        hash(Device(0))
    here, there = (pnn.backends.Backend(array_api_strict, Device(number)) for number in (0, 1))
    assert len({here, there, pnn.backends.Backend(array_api_strict, Device(0))}) == 2


@pytest.mark.parametrize(
    ("dtype", "large", "words"), [("float32", 1e300, "1.0e+300"), ("float16", 7e4, "7.0e+04")]
)
def test_weights_that_a_dtype_does_not_hold(torch, dtype, large, words):
    net = pnn.Network([pnn.Dense(np.array([[large], [-1.0]]), None, "tanh")])
    x = torch.ones((1, 2), dtype=getattr(torch, dtype))
    with pytest.raises(
        pnn.NetworkError, match=re.escape(f"weights up to {words} are too large for {dtype}: give")
    ):
        net(x)
    assert net(x.double()).tolist() == [[1.0]]
