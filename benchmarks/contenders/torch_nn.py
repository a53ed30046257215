"""`torch.nn.Sequential` under inference mode, plain or through `torch.compile`."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from benchmarks.given import Given, in_batches
from benchmarks.networks import Block, Cell
from portable_nn import Dense, Rescaling

__all__ = ["natural", "sequential", "tasks"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softmax": lambda: nn.Softmax(dim=-1),
}


class Scaled(nn.Module):
    """Pixels as floats divided by 255."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scaled pixels."""
        return x.float() / 255


class Residual(nn.Module):
    """Two layers and what comes to them, added before the last activation."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.inside = sequential((block.first, block.second.with_activation("identity")))
        self.last = ACTIVATIONS[block.second.activation]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The activation of the sum."""
        return self.last(x + self.inside(x))  # type: ignore[no-any-return]


def sequential(layers: Iterable[Dense | Rescaling | Block]) -> nn.Sequential:
    """The network as a user of PyTorch writes it."""
    modules: list[nn.Module] = []
    for layer in layers:
        if not isinstance(layer, Dense):
            modules.append(Residual(layer) if isinstance(layer, Block) else Scaled())
            continue
        linear = nn.Linear(*layer.weight.shape)
        linear.weight.data = torch.tensor(layer.weight.T.copy())
        linear.bias.data = torch.tensor(layer.bias)
        modules.append(linear)
        if layer.activation != "identity":
            modules.append(ACTIVATIONS[layer.activation]())
    return nn.Sequential(*modules).eval()


def natural(cell: Cell) -> Callable[[], Any]:
    """The call on a tensor."""
    net, x = sequential(cell.layers), torch.tensor(cell.x)

    @torch.inference_mode()
    def call() -> torch.Tensor:
        return net(x)

    return call


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """Many images come from NumPy, without a copy; one is a tensor already."""
    net = sequential(given.net.layers)
    image = torch.tensor(given.image)
    images = torch.tensor(given.images).numpy()  # writable, as torch.from_numpy wants them

    def label(x: torch.Tensor) -> torch.Tensor:
        return net(x).argmax(dim=-1)

    probabilities = net
    if given.how == "compiled":
        probabilities, label = torch.compile(net, fullgraph=True), torch.compile(label, fullgraph=True)

    @torch.inference_mode()
    def labels(size: int) -> Any:
        return in_batches(lambda batch: label(torch.from_numpy(batch)).numpy(), images, size)

    @torch.inference_mode()
    def alone(function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        return function(image)

    return {
        "labels": labels,
        "probabilities": lambda: alone(probabilities),
        "label": lambda: alone(label),
    }
