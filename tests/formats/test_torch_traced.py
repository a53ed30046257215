"""Modules of PyTorch with a forward pass of their own: PyTorch is the oracle; what no trace tells is refused."""

from typing import NamedTuple

import numpy as np
import pytest
from helpers import EPSILON

import portable_nn as pnn
from portable_nn.errors import NetworkError
from portable_nn.formats.pytorch import from_torch
from portable_nn.layers import Graph

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install torch")
nn, F = torch.nn, torch.nn.functional

X = np.random.default_rng(0).normal(size=(7, 6))


def of(function, shape=(6,)):
    """A module that applies a function to what a linear layer gives, and to that and the input."""

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first = nn.Linear(6, 6)
            self.scale = nn.Parameter(torch.rand(6) + 0.5)
            self.register_buffer("mean", torch.randn(6))

        def forward(self, x):
            return function(self, self.first(x), x)

    return Module().double()


@torch.fx.wrap
def exp(x):
    """What a trace holds as one call, of a function that is none of PyTorch's."""
    return 2 * x


def gated(m, h, x):
    a, b = torch.cat([h, x], 1).chunk(2, 1)
    rows, n = a.shape
    return (a * torch.sigmoid(b)).view(rows, n)


FUNCTIONS = {
    "operators": lambda m, h, x: (1 - h) * x / 2 + (-h) ** 2 - 3 * x,
    "torch's": lambda m, h, x: torch.add(h, x, alpha=0.5).sub(x).mul(h).div(2.0).neg(),
    "alpha of methods": lambda m, h, x: h.sub(x, alpha=2) + torch.rsub(h, 1.5) * torch.rsub(h, x, alpha=3),
    "pow": lambda m, h, x: torch.pow(h, 3) + x.pow(2) + 2.0**h,
    "extremes": lambda m, h, x: torch.maximum(h, x) - torch.min(h, x),
    "of one": lambda m, h, x: torch.exp(-h.abs()) + x.sin() * h.cos() + torch.erf(x) + h.square().sqrt(),
    "more of one": lambda m, h, x: torch.log1p(h * h) + torch.expm1(x) + h.reciprocal() * h + x.floor(),
    "activations": lambda m, h, x: F.relu(h) + F.gelu(x) + torch.sigmoid(h) + x.tanh() + F.silu(h) + F.mish(x),
    "parameters": lambda m, h, x: F.leaky_relu(h, 0.3) + F.elu(x, alpha=0.7) + F.gelu(h, approximate="tanh"),
    "their defaults": lambda m, h, x: F.softplus(9 * h) + F.hardtanh(x) + F.softshrink(h) + F.celu(x) + F.selu(h),
    "more": lambda m, h, x: F.hardswish(h) + F.hardsigmoid(x) + F.relu6(h) + F.logsigmoid(x) + F.tanhshrink(h),
    "thresholds": lambda m, h, x: F.threshold(h, 0.1, -2.0) + F.softplus(x, beta=2, threshold=5) + F.softsign(h),
    "along features": lambda m, h, x: h.softmax(-1) + torch.log_softmax(x, dim=1) + F.softmin(h, dim=-1),
    "glu": lambda m, h, x: F.glu(torch.cat([h, x], 1)),
    "prelu": lambda m, h, x: F.prelu(h, m.scale) + x,
    "clamp": lambda m, h, x: h.clamp(-0.5, 0.5) + torch.clamp(x, min=0.1) + h.clip(max=0.2),
    "limits that are tensors": lambda m, h, x: (
        torch.clamp(h, min=x) + x.clamp(m.mean, m.scale) + torch.clamp(x, max=torch.tensor(0.5))
    ),
    "one limit that is a tensor": lambda m, h, x: h.clamp(max=x) + torch.clip(x, m.mean, None),
    "parameters and buffers": lambda m, h, x: (h - m.mean) / m.scale.exp() + x * m.scale,
    "linear": lambda m, h, x: F.linear(h, m.first.weight * 2) + F.linear(x, m.first.weight, m.mean),
    "products": lambda m, h, x: h @ m.first.weight + torch.matmul(x, m.first.weight.t()),
    "norms": lambda m, h, x: F.layer_norm(h, (6,), m.scale, m.mean) + F.rms_norm(x, (6,)),
    "dropout": lambda m, h, x: F.dropout(h, 0.5, m.training) + F.dropout(x, training=m.training),
    "side by side": lambda m, h, x: torch.cat((h, x, h), dim=-1),
    "stacked": lambda m, h, x: torch.stack([h, x], dim=1).flatten(1) + torch.stack([x, h], -1).view(-1, 12),
    "parts": lambda m, h, x: h.chunk(2, dim=-1)[0] * torch.split(x, 3, dim=1)[1] + h.split([1, 3, 2], -1)[1],
    "unpacked": gated,
    "slices": lambda m, h, x: h[:, 1:4] + x[..., ::2] + h[:, [0, 5, 2]] + x[:, 0:1] + h[:, 3][:, None],
    "reduced": lambda m, h, x: h.mean(-1, keepdim=True) + x.sum(1, keepdim=True) + h.amax(dim=-1, keepdim=True),
    "one value": lambda m, h, x: (h * x).sum(-1),
    "shapes": lambda m, h, x: h.view(h.size(0), 2, 3).transpose(1, 2).reshape(x.shape[0], -1) + x,
    "axes of 1": lambda m, h, x: h.unsqueeze(1).squeeze(1) + x[:, None, :].flatten(1),
    "of their sizes": lambda m, h, x: h / h.shape[-1] + x,
    "permuted": lambda m, h, x: h.reshape(-1, 3, 2).permute(0, 2, 1).flatten(start_dim=1) + x,
    "more axes": lambda m, h, x: F.linear(h.view(-1, 3, 2), m.mean.view(3, 2)).relu().flatten(1) + x[:, :1],
    "in place": lambda m, h, x: F.relu(h, inplace=True).add_(x),
    "casts": lambda m, h, x: h.add(x).float().to(torch.float64).contiguous().clone() + x.detach(),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    module = of(FUNCTIONS[name])
    net = from_torch(module)
    with torch.no_grad():
        wanted = module.eval()(torch.as_tensor(X)).numpy()
    close = {"rtol": 1e-6, "atol": 1e-6} if name == "casts" else {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(net(X), wanted, **close)
    np.testing.assert_allclose(net(X[0]), wanted[0], **close)
    np.testing.assert_allclose(net(X[None])[0], wanted, **close)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1))
        self.outer = nn.Linear(2 * width, width)

    def forward(self, x, scale=1.0, mask=None):
        if mask is not None:
            x = x * mask
        return x + scale * self.outer(self.inner(x))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh())
        self.blocks = nn.ModuleList([Block(8) for _ in range(3)])
        self.head = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 3), nn.Softmax(dim=-1))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_a_residual_network_is_a_graph_between_chains():
    module = Residual()
    net = from_torch(module, sample_shape=(2, 3))
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds == ["Flatten", "Dense", "Graph", "Rescaling", "Dense"]
    assert (net.task, net.dtype, module.training) == ("classification", "float32", True)
    x = X.reshape(7, 2, 3).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(net(x), module.eval()(torch.as_tensor(x)).numpy(), rtol=1e-4, atol=1e-5)


def test_a_chain_stays_a_chain():
    net = from_torch(of(lambda m, h, x: torch.softmax(F.silu((h - m.mean) / m.scale), -1)))
    assert not any(isinstance(layer, Graph) for layer in net.layers)
    assert net.layers[0].input_shape == (6,)
    assert [layer.name for layer in net.layers[-2:]] == ["silu", "softmax"]


class Named(NamedTuple):
    mean: object
    spread: object


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (lambda a, b: {"left": a, "right": b}, ["left", "right"]),
        (lambda a, b: (a, b), ["output_0", "output_1"]),
        (lambda a, b: Named(a, b), ["mean", "spread"]),
    ],
)
def test_outputs_by_name(given, names):
    module = of(lambda m, h, x: given(h + x, torch.tanh(h)))
    found = from_torch(module)(X)
    assert list(found) == names
    with torch.no_grad():
        h = module.first(torch.as_tensor(X)).numpy()
    np.testing.assert_allclose(found[names[0]], h + X, rtol=1e-9)
    np.testing.assert_allclose(found[names[1]], np.tanh(h), rtol=1e-9)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 2).double()

    def forward(self, theta, k):
        return self.last(torch.cat([theta, k], dim=1))


def test_several_inputs():
    module = Two()
    with pytest.raises(NetworkError, match=r"inputs are theta, k: .*\{'theta': \(n,\), 'k': \(n,\)\}"):
        from_torch(module)
    net = from_torch(module, sample_shape={"theta": (4,), "k": (2,)})
    with torch.no_grad():
        wanted = module(torch.as_tensor(X[:, :4]), torch.as_tensor(X[:, 4:])).numpy()
    np.testing.assert_allclose(net({"theta": X[:, :4], "k": X[:, 4:]}), wanted, rtol=1e-9)


def test_the_module_is_as_it_was():
    module = of(lambda m, h, x: h + torch.ones(6, dtype=torch.float64) * x)
    module.first.eval()
    before = set(vars(module)), {key: value.clone() for key, value in module.state_dict().items()}
    from_torch(module)
    assert set(vars(module)) == before[0]
    assert all(torch.equal(value, before[1][key]) for key, value in module.state_dict().items())
    assert (module.training, module.first.training) == (True, False)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_of_weights(dtype):
    module = of(FUNCTIONS["parameters and buffers"]).to(getattr(torch, dtype))
    net = from_torch(module)
    assert net.dtype == {"bfloat16": "float32"}.get(dtype, dtype)
    with torch.no_grad():
        wanted = module.double()(torch.as_tensor(X)).numpy()
    np.testing.assert_allclose(net(X), wanted, atol=8 * EPSILON[dtype])


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.first.register_forward_hook(lambda module, given, made: 2 * made)

    def forward(self, x):
        return x + self.first(x)


class Anything(nn.Module):
    def forward(self, *values):
        return values[0]


REFUSED = {
    "a condition on data": (lambda m, h, x: h if h.sum() > 0 else x, "cannot be traced.*torch.onnx.export"),
    "over samples": (lambda m, h, x: h - x.mean(0), "node 'mean', which calls mean: it works along axis 0"),
    "over all": (lambda m, h, x: h / x.norm(), "node 'norm', which calls norm: it has no counterpart here"),
    "softmax of samples": (lambda m, h, x: torch.softmax(h, 0), "which calls softmax: dim must be -1"),
    "unknown": (lambda m, h, x: torch.cumsum(h, 1), "node 'cumsum', which calls cumsum: it has no counterpart"),
    "of someone": (lambda m, h, x: np.add(h, x), "cannot be traced|has no counterpart"),
    "some samples": (lambda m, h, x: h[::2] + x[::2], "which calls getitem: it picks some samples"),
    "backwards": (lambda m, h, x: h.flip(0) + x, "which calls flip"),
    "the number of samples": (lambda m, h, x: h / h.shape[0], "which depends on the number of samples"),
    "samples side by side": (lambda m, h, x: torch.cat([h, x]), "it works along axis 0"),
    "an unread option": (lambda m, h, x: torch.div(h, x, rounding_mode="floor"), "calls div: what it is given"),
    "in place, and read after": (lambda m, h, x: (h.relu_(), h)[0] + (h.mul_(2), h)[1], "values in place"),
    "an alias that changes": (lambda m, h, x: (lambda g: F.relu(h, inplace=True) + g)(h.view(-1, 6)), "in place"),
    "samples in one row": (lambda m, h, x: h.view(1, -1), "calls view: it mixes samples"),
    "samples by samples": (lambda m, h, x: h[:, :1] + x[:, 0], "calls add: it mixes samples"),
    "another axis": (lambda m, h, x: torch.softmax(h.view(-1, 2, 3), 1).flatten(1), "axis that is not"),
    "a weight of data": (lambda m, h, x: F.linear(x, h), "calls linear|does not take"),
    "axes that move": (lambda m, h, x: h.transpose(0, 1).transpose(0, 1), "moves the axis of s"),
    "other limits": (lambda m, h, x: torch.clamp(h, 0, 1, out=x), "calls clamp: what .* is not read: out"),
    "a dtype": (lambda m, h, x: torch.softmax(h, 1, dtype=torch.float64), "softmax: what .* not read: 1, dtype"),
    "samples stacked": (lambda m, h, x: torch.stack([h, x])[0], "which calls stack: it works along axis 0"),
    "places that are a tensor": (lambda m, h, x: h[:, torch.tensor([0, 1])] + 1, "the index .* is not read"),
    "a namesake of PyTorch's": (lambda m, h, x: exp(h) + x, "which calls exp: it has no counterpart here"),
    "no output of its own": (lambda m, h, x: {"y": h, "z": 3}, "takes 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_names_the_node(name):
    function, match = REFUSED[name]
    with pytest.raises(NetworkError, match=match):
        from_torch(of(function))


def test_modules_that_are_refused():
    with pytest.raises(NetworkError, match=r"node 'first', which calls first: module first has hooks"):
        from_torch(Hooked())
    with pytest.raises(NetworkError, match="any number of arguments"):
        from_torch(Anything())
    module = of(FUNCTIONS["operators"])
    module.first = nn.Conv1d(6, 6, 1).double()
    with pytest.raises(NetworkError, match="give the shape of one sample"):
        from_torch(module)
    with pytest.raises(NetworkError, match=r"node 'first', which calls first: convolutions, .* computed here$"):
        from_torch(module, sample_shape=(6, 4))
    with pytest.raises(NetworkError, match="sample_shape="):
        from_torch(of(FUNCTIONS["operators"]), sample_shape=(5,))
    with pytest.raises(NetworkError, match="takes one array"):
        from_torch(nn.Linear(2, 2), sample_shape={"x": (2,)})


class Paired(nn.Module):
    def __init__(self):
        super().__init__()
        self.both, self.lazy = nn.Bilinear(6, 6, 2), nn.LazyLinear(2)

    def forward(self, x):
        return self.both(x, x) + self.lazy(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: torch.jit.trace(of(FUNCTIONS["operators"]), torch.as_tensor(X)), "TorchScript"),
        (lambda: of(lambda m, h, x: ({"y": h}, x)), "its outputs are dicts or tuples of more such"),
        (lambda: of(lambda m, h, x: {"y": h, "z": m.scale}), "takes scale, which has no one part"),
        (lambda: of(FUNCTIONS["operators"]).to("meta"), "first.weight cannot be fetched"),
        (Paired, "give the shape of one sample|its forward does not take"),
    ],
)
def test_other_modules_that_are_refused(make, match):
    with pytest.raises(NetworkError, match=match):
        from_torch(make())


def test_modules_take_one_value():
    module = Paired()
    module.lazy = nn.Linear(6, 2)
    with pytest.raises(NetworkError, match="node 'both', which calls both: it is given 2 arguments"):
        from_torch(module)


def test_arguments_by_name():
    module = of(lambda m, h, x: torch.add(input=m.first(input=x), other=h))
    with torch.no_grad():
        wanted = module(torch.as_tensor(X)).numpy()
    np.testing.assert_allclose(from_torch(module)(X), wanted, rtol=1e-9)


@pytest.mark.parametrize(("step", "match"), [(1e-2, "what was traced is not what it does"), (1e-9, None)])
def test_what_leaves_no_trace_is_found_out(step, match):
    calls = iter(range(100))
    module = of(lambda m, h, x: h + step * next(calls))
    if match is None:
        assert from_torch(module)(X).shape == (7, 6)
        return
    with pytest.raises(NetworkError, match=match):
        from_torch(module)


def test_what_wraps_a_module():
    module = of(FUNCTIONS["operators"])
    with torch.no_grad():
        wanted = module(torch.as_tensor(X)).numpy()
    for wrapped in (
        nn.DataParallel(module),
        torch.compile(module, backend="eager"),
        nn.Sequential(module, nn.Identity()),
    ):
        np.testing.assert_allclose(pnn.from_torch(wrapped)(X), wanted, rtol=1e-9)


NUMBERS = {
    "places and limits": lambda m, h, x: x[:, [1, 0]] * 3 + torch.clamp(x[:, :2], -1.0, 1.0),
    "a mean and six": lambda m, h, x: x + x.mean(1, keepdim=True) * 2 + F.relu6(x),
    "limits before a product": lambda m, h, x: m.first(F.hardtanh(x)) + x.sum(1, keepdim=True) * 2,
    "limits beside a sum": lambda m, h, x: torch.cat([F.relu6(x), x.sum(1, keepdim=True) * 2], 1),
    "a slice and limits": lambda m, h, x: x[:, :1] * 3 + torch.clamp(x, -1.0, 1.0),
}
"""Numbers of the graph, and of activations that are written as several operators."""


@pytest.mark.parametrize("name", [*NUMBERS, "clamp", "thresholds", "more", "operators", "parameters and buffers"])
def test_what_is_written_as_onnx_is_the_same_network(tmp_path, name):
    pytest.importorskip("onnx", reason="pip install onnx")
    net = from_torch(of((NUMBERS | FUNCTIONS)[name]))
    pnn.save(net, tmp_path / "net.onnx")
    wanted = of((NUMBERS | FUNCTIONS)[name])(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(pnn.load(tmp_path / "net.onnx")(X), wanted, rtol=1e-6, atol=1e-6)


def test_one_number_for_each_sample_is_no_label(tmp_path):
    net = from_torch(of(lambda m, h, x: h.sum(1)))
    assert net(X).shape == (7,)
    for call in (net.predict, lambda x: pnn.infer(net, x)):
        with pytest.raises(NetworkError, match=r"one number for each sample, .* means no label"):
            call(X)
    pytest.importorskip("onnx", reason="pip install onnx")
    pnn.save(net, tmp_path / "net.onnx")
    np.testing.assert_allclose(pnn.load(tmp_path / "net.onnx")(X), net(X), rtol=1e-12)


def test_inputs_have_the_names_of_the_arguments():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(6, 6)

        def forward(self, input, X):  # noqa: A002
            return self.first(input) + X

    module = Two().double()
    net = from_torch(module, sample_shape={"input": (6,), "X": (6,)})
    x = torch.from_numpy(X)
    found = net({"input": X, "X": 2 * X})
    np.testing.assert_allclose(found, module(x, 2 * x).detach().numpy(), rtol=1e-12)


def test_an_output_that_is_zero_but_for_rounding():
    net = from_torch(of(lambda m, h, x: {"h": h, "mean": F.layer_norm(x + h, (6,)).mean(1, keepdim=True)}))
    assert np.abs(net(X)["mean"]).max() < 1e-12
