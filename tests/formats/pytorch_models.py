"""Models of PyTorch that tests draw or make, and what they predict."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is the oracle: pip install torch")
nn = torch.nn

slopes = st.floats(0.05, 2)

ACTIVATIONS = {
    "CELU": st.builds(nn.CELU, slopes),
    "ELU": st.builds(nn.ELU, slopes),
    "GELU": st.builds(nn.GELU, st.sampled_from(["none", "tanh"])),
    "GLU": st.builds(nn.GLU, st.sampled_from([-1, 1])),
    "Hardshrink": st.builds(nn.Hardshrink, slopes),
    "Hardsigmoid": st.builds(nn.Hardsigmoid),
    "Hardswish": st.builds(nn.Hardswish),
    "Hardtanh": st.builds(nn.Hardtanh, st.floats(-2, 0), st.floats(0.5, 2)),
    "LeakyReLU": st.builds(nn.LeakyReLU, slopes),
    "LogSigmoid": st.builds(nn.LogSigmoid),
    "LogSoftmax": st.builds(nn.LogSoftmax, st.sampled_from([-1, 1])),
    "Mish": st.builds(nn.Mish),
    "PReLU": st.builds(nn.PReLU, st.just(1), slopes),
    "RReLU": st.builds(nn.RReLU, st.floats(0.1, 0.3), st.floats(0.3, 0.5)),
    "ReLU": st.builds(nn.ReLU),
    "ReLU6": st.builds(nn.ReLU6),
    "SELU": st.builds(nn.SELU),
    "SiLU": st.builds(nn.SiLU),
    "Sigmoid": st.builds(nn.Sigmoid),
    "Softmax": st.builds(nn.Softmax, st.sampled_from([-1, 1])),
    "Softmin": st.builds(nn.Softmin, st.sampled_from([-1, 1])),
    "Softplus": st.builds(nn.Softplus, slopes, st.floats(1, 20)),
    "Softshrink": st.builds(nn.Softshrink, slopes),
    "Softsign": st.builds(nn.Softsign),
    "Tanh": st.builds(nn.Tanh),
    "Tanhshrink": st.builds(nn.Tanhshrink),
    "Threshold": st.builds(nn.Threshold, st.floats(-1, 1), st.floats(-1, 1)),
}
ACTIVATIONS_OF_WIDTH = {name: made for name, made in ACTIVATIONS.items() if name != "GLU"}
OTHERS = [nn.Identity, nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Flatten]


@st.composite
def models(draw, depth=2):
    """A Sequential of 4 features, whose weights and statistics are random."""
    n, modules = 4, []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["linear", "linear", "activation", "activation", "norm", "other", "nested"]))
        match kind:
            case "linear":
                m = draw(st.integers(1, 5))
                modules.append(nn.Linear(n, m, bias=draw(st.booleans())))
                n = m
            case "activation":
                modules.append(draw(st.sampled_from(sorted(ACTIVATIONS_OF_WIDTH)).flatmap(ACTIVATIONS.get)))
            case "norm":
                modules.append(
                    draw(
                        st.sampled_from(
                            [
                                nn.BatchNorm1d(n),
                                nn.BatchNorm1d(n, eps=1e-2, affine=False),
                                nn.LayerNorm(n, eps=1e-2),
                                nn.LayerNorm([n], bias=False),
                                nn.LayerNorm(n, elementwise_affine=False),
                                nn.RMSNorm(n, eps=1e-3),
                                nn.RMSNorm(n, elementwise_affine=False),
                                nn.PReLU(n),
                            ]
                        )
                    )
                )
            case "other":
                modules.append(draw(st.sampled_from(OTHERS))())
            case "nested" if depth:
                inner, m = draw(models(depth - 1))
                modules.append(nn.Sequential(nn.Linear(n, 4), *inner))
                n = m
    return nn.Sequential(*modules), n


def randomized(model, seed=0):
    """The model in float64, its parameters and statistics as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.dtype == torch.float64 and "weight" not in name:
            values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.data = values + 0.5 if name.endswith("running_var") else 2 * values - 1
    return model


def predicted(model, x):
    training, model = model.training, model.eval()
    with torch.no_grad():
        outputs = model(torch.as_tensor(x)).numpy()
    model.train(training)
    return outputs


RNG = np.random.default_rng(0)
X = 3 * RNG.normal(size=(7, 4))


def mlp(*sizes):
    torch.manual_seed(1)
    modules = [module for pair in pairwise(sizes) for module in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*modules[:-1]).double()


def nested(state, keys):
    for key in keys:
        state = {key: state, "epoch": 3, "optimizer": {"lr": 0.1}}
    return state
