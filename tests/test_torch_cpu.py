"""PyTorch on the CPU: samples by blocks of rows, gelu between two products."""

import os
import platform

import numpy as np
import pytest
from helpers import ndtr, run_python

import portable_nn as pnn
from portable_nn.placing import plain

RNG = np.random.default_rng(7)
FORWARD_MODE = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # its own
ROUNDING = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-13}


def network(names, widths, dtype="float32"):
    layers = [
        pnn.Dense(
            (RNG.standard_normal((n, m)) / n**0.5).astype(dtype), RNG.standard_normal(m).astype(dtype), name
        )
        for name, n, m in zip(names, widths, widths[1:], strict=False)
    ]
    return pnn.Network(layers)


NETWORKS = {
    "gelu": network(["gelu", "gelu", "identity"], (5, 300, 30, 2)),
    "gelu last": network(["relu", "gelu"], (5, 40, 3)),
    "gelu alone": network(["gelu"], (5, 260)),
    "gelu and a softmax": network(["gelu", "softmax"], (5, 64, 4)),
    "wide": network(["tanh", "relu", "sigmoid"], (5, 3000, 20, 7)),
    "of five products": network(["gelu", "relu", "gelu", "tanh", "identity"], (5, 30, 20, 12, 7, 3)),
    "as it is": network(["elu", "identity"], (5, 20, 1)),
    "scaled": pnn.Network([pnn.Rescaling(0.5, -0.25), *network(["gelu", "silu"], (5, 31, 4)).layers]),
    "of images": pnn.Network([pnn.Flatten((1, 5)), *network(["gelu", "gelu"], (5, 12, 4)).layers]),
    "activation first": pnn.Network([pnn.Activation("gelu"), *network(["gelu", "gelu"], (5, 12, 4)).layers]),
}


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("leading", [(), (1,), (2,), (6_001,), (1, 1), (3, 2), (1, 6_001)], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_plain_loop(torch, name, leading, dtype):
    net = NETWORKS[name]
    x = RNG.standard_normal((*leading, *net.input_shape)).astype(dtype)
    wanted = plain(net.layers, x.astype(np.float64))
    for inference in (False, True):
        with torch.inference_mode(inference):
            found = net(torch.from_numpy(x))
        assert (found.dtype, found.shape) == (getattr(torch, dtype), wanted.shape)
        np.testing.assert_allclose(
            found.numpy(), wanted, rtol=0, atol=ROUNDING[dtype] * (1 + np.abs(wanted).max())
        )


@FORWARD_MODE
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rows", [1, 4])
def test_derivatives_by_inputs(torch, name, rows):
    net = NETWORKS[name]
    x = torch.from_numpy(RNG.standard_normal((rows, *net.input_shape)) / 4).requires_grad_()
    assert torch.autograd.gradcheck(net, x)
    assert torch.autograd.gradgradcheck(lambda x: net(x).sum(), x)
    torch.testing.assert_close(
        torch.func.jacfwd(net)(x.detach()),
        torch.func.jacrev(net)(x.detach()),
    )


@FORWARD_MODE
@pytest.mark.parametrize("name", ["gelu", "wide"])
def test_derivatives_of_as_many_rows_as_go_by_blocks(torch, name):
    net = NETWORKS[name]
    x = torch.from_numpy(RNG.standard_normal((6_001, *net.input_shape))).requires_grad_()
    (found,) = torch.autograd.grad(net(x).sum(), x)
    parts = [part.requires_grad_() for part in x.detach().split(100)]
    torch.testing.assert_close(
        found, torch.cat([torch.autograd.grad(net(part).sum(), part)[0] for part in parts])
    )
    tangent = torch.func.jvp(net, (x.detach(),), (torch.ones_like(x),))[1]
    torch.testing.assert_close(tangent.sum(), found.sum())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.detach(), torch.ones_like(x))
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(net(dual)).tangent, tangent)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_lower_tail_of_gelu_meets_large_weights(torch, dtype):
    eye = np.eye(8, dtype=dtype)
    net = pnn.Network([pnn.Dense(eye, None, "gelu"), pnn.Dense(eye * eye.dtype.type(1e20))])
    x = np.linspace(-11, -1, 8).astype(dtype)
    for shape in ((8,), (1, 8), (2, 8)):
        found = net(torch.from_numpy(np.broadcast_to(x, shape).copy())).numpy()
        wanted = np.broadcast_to(1e20 * x * ndtr(x.astype(np.float64)), shape)
        np.testing.assert_allclose(found, wanted, rtol=150 * np.finfo(dtype).eps)  # as the square of x


def test_weights_placed_in_inference_mode_serve_a_derivative(torch):
    net = network(["gelu", "gelu"], (5, 12, 4))
    for rows in (1, 3):
        with torch.inference_mode():
            net(torch.ones(rows, 5))
        x = torch.ones(rows, 5, requires_grad=True)
        net(x).sum().backward()
        assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("order", [((1,), (2,)), ((2,), (1,)), ((), (1,))], ids=str)
def test_autocast_gives_one_dtype_whatever_came_before(torch, order):
    net = NETWORKS["of five products"]
    for _ in range(2):
        for leading in order:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert net(torch.ones(*leading, 5)).dtype == torch.bfloat16
            assert net(torch.ones(*leading, 5)).dtype == torch.float32


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rows", [1, 3])
def test_what_comes_is_no_view(torch, name, rows):
    x = torch.ones(rows, *NETWORKS[name].input_shape)
    with torch.no_grad():
        found = NETWORKS[name](x)
    found += torch.nn.Parameter(torch.ones(()))  # an error to a view that was made without derivatives
    assert found.requires_grad


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage:UserWarning")
def test_nested_tensors_are_told_so_after_one_sample_too(torch):
    net = NETWORKS["of five products"]
    net(torch.ones(1, 5))
    with pytest.raises(pnn.InputError, match="nested tensors"):
        net(torch.nested.nested_tensor([torch.ones(5), torch.ones(5)]))


def test_the_largest_numbers_overflow_nowhere(torch):
    x = torch.full((3, 1), 3e38)
    net = pnn.Network([pnn.Dense(np.eye(1, dtype=np.float32), None, "gelu")])
    torch.testing.assert_close(net(x), x)


def test_what_gives_its_sign_later_has_labels(torch):
    x = torch.complex(torch.ones(4, 5), torch.ones(4, 5)).conj().imag
    assert x.is_neg()
    net = NETWORKS["gelu"]
    torch.testing.assert_close(net.predict(x), net.predict(x.resolve_neg()))


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float16"])
def test_arrays_of_any_strides_are_placed(dtype):
    x = RNG.integers(0, 9, (300, 5)).astype(dtype)
    fields = np.zeros(300, [("skipped", "u1"), ("x", dtype, 5)])
    fields["x"] = x
    net = NETWORKS["gelu"]
    for array in (x[::-1], x[:, ::-1], x[::2], fields["x"], np.asfortranarray(x)):
        found = pnn.infer(net, array, backend="torch", outputs=True)
        np.testing.assert_allclose(found, net(array.astype("f4")), rtol=1e-2, atol=1e-2)


FAULTS = """
import resource, sys
import numpy as np, torch
import portable_nn as pnn

torch.set_num_threads(1)
net = pnn.Network([pnn.Dense(np.ones(shape, np.float32) / 99, None, "tanh") for shape in ((64, 256), (256, 256))])
x = torch.zeros(int(sys.argv[1]), 64)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        net(x)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with torch.inference_mode():
    faults()
    print(faults() / 10 * resource.getpagesize() / (4 * 256 * len(x)))
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="what glibc does with freed memory: run on a Linux that has it"
)
@pytest.mark.parametrize(("rows", "most"), [(10_000, 0.1), (60_000, 1.1)])
@pytest.mark.usefixtures("torch")
def test_pages_of_temporaries_are_used_again(rows, most):
    fresh = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    assert float(run_python("-c", FAULTS, str(rows), env=fresh)) < most  # of the outputs: it was 2


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "hard_sigmoid", "log_sigmoid", "mish"])
def test_an_exported_network_has_its_derivatives(torch, name):
    net = pnn.Network([pnn.Dense(np.eye(4)).with_activation(name)])

    class Module(torch.nn.Module):
        def forward(self, x):
            return net(x)

    x = torch.tensor([[0.5, 800.0, -4.0, -20.0]], dtype=torch.float64)
    exported = torch.export.export(Module(), (x,)).module()
    found, wanted = [], []
    for function, derivatives in (exported, found), (net, wanted):
        given = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(function(given).square().sum(), given, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), given)
        derivatives += first.detach(), second
    torch.testing.assert_close(found, wanted, rtol=1e-14, atol=0)
