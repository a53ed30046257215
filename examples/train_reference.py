"""Train the embedded reference network: the book's 784-50-100-10 sigmoid network, on MNIST.

    python examples/train_reference.py [mnist.safetensors]

The forward pass that is trained is the package's own: PyTorch differentiates through it as it stands. Training
stops at the first step whose accuracy on the test images is exactly the book's 0.9352 and whose smallest margin
between the two highest logits is at least 0.001, so that float32 rounding on no backend can turn a label. The
stopping point is thus chosen on the test set: 0.9352 is a fingerprint, and no estimate of generalisation.
"""

import sys
from itertools import pairwise

import numpy as np
import torch

import portable_nn as pnn

SEED, BATCH, LEARNING_RATE, STEPS = 0, 100, 3e-4, 20_000
ACCURACY, MARGIN = 0.9352, 1e-3
SIZES = (784, 50, 100, 10)


def initial_network(rng):
    """Glorot-uniform weights and zero biases, as PyTorch tensors that want gradients."""
    layers = [pnn.Rescaling(1 / 255)]
    for n_in, n_out in pairwise(SIZES):
        limit = np.sqrt(6 / (n_in + n_out))
        weight = torch.asarray(rng.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
        bias = torch.zeros(n_out)
        activation = "softmax" if n_out == SIZES[-1] else "sigmoid"
        layers.append(pnn.Dense(weight.requires_grad_(), bias.requires_grad_(), activation))
    return pnn.Network(layers)


def accuracy_and_margin(net, images, labels):
    """Share of right labels, and the smallest gap between the two highest logits."""
    with torch.no_grad():
        logits = net.logits(images)
    highest = torch.topk(logits, 2, dim=-1).values
    right = int((net.predict(images) == labels).sum())
    return right / len(labels), float((highest[:, 0] - highest[:, 1]).min())


def main(path="mnist.safetensors"):
    """Train until the fingerprint is met, then save."""
    rng = np.random.default_rng(SEED)
    images, labels = (torch.asarray(array) for array in pnn.datasets.mnist("train"))
    test = tuple(torch.asarray(array) for array in pnn.datasets.mnist("test"))
    net = initial_network(rng)
    weights = [array for layer in net.layers for array in layer.arrays.values()]
    optimizer = torch.optim.Adam(weights, lr=LEARNING_RATE)
    for step in range(STEPS):
        batch = torch.asarray(rng.integers(0, len(labels), BATCH))
        log_probabilities = pnn.activations.log_softmax(net.logits(images[batch]))
        loss = -log_probabilities[torch.arange(BATCH), labels[batch]].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy, margin = accuracy_and_margin(net, *test)
        found = accuracy == ACCURACY and margin >= MARGIN
        if found or step % 500 == 0:
            print(f"step {step:5}  loss {loss.item():.4f}  test accuracy {accuracy:.4f}  margin {margin:.5f}")
        if found:
            pnn.save(net, path)
            return
    sys.exit(f"no step of {STEPS} met accuracy {ACCURACY} with margin {MARGIN}: try another seed")


if __name__ == "__main__":
    main(*sys.argv[1:])
