"""`torch.nn.Sequential` under inference mode, from uint8 tensors, plain or through `torch.compile`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.given import Given, in_batches

__all__ = ["sequential", "tasks"]


class Scaled(nn.Module):
    """Pixels as floats divided by 255."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scaled pixels."""
        return x.float() / 255


def sequential(given: Given) -> nn.Sequential:
    """The network as a user of PyTorch writes it."""
    layers: list[nn.Module] = [Scaled()]
    for weight, bias in given.weights:
        linear = nn.Linear(*weight.shape)
        linear.weight.data = torch.tensor(weight.T.copy())
        linear.bias.data = torch.tensor(bias)
        layers += [linear, nn.Sigmoid()]
    layers[-1] = nn.Softmax(dim=-1)
    return nn.Sequential(*layers).eval()


def tasks(given: Given) -> dict[str, Callable[..., Any]]:
    """Many images come from NumPy, without a copy; one is a tensor already."""
    net = sequential(given)
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
