"""Networks trained with PyTorch or scikit-learn, run on any array library.

    python examples/from_frameworks.py

Each of them keeps weights in its own way; a Network takes them as arrays of shape (n_in, n_out).
"""

import numpy as np
import sklearn.datasets
import torch
from sklearn.neural_network import MLPClassifier
from torch import nn

import portable_nn as pnn


def from_torch(model, sample_shape=None):
    """The Network of a `torch.nn.Sequential` for batches of samples.

    A `Flatten` may come first, and needs `sample_shape`, the shape of one sample. An activation belongs to the
    `Linear` before it. A `Linear` keeps its weights transposed.
    """
    layers = []
    for i, module in enumerate(model):
        match module:
            case nn.Flatten(start_dim=1, end_dim=-1) if i == 0 and sample_shape:
                layers.append(pnn.Flatten(sample_shape))
            case nn.Linear(weight=weight, bias=bias):
                layers.append(pnn.Dense(to_numpy(weight).T, None if bias is None else to_numpy(bias)))
            case _ if i and isinstance(model[i - 1], nn.Linear):
                layers.append(layers.pop().with_activation(activation_name(module)))
            case _:
                raise ValueError(
                    f"module {i}, {module}, has no counterpart there: put a Linear before each activation; let a "
                    "Flatten from axis 1 come first, and give sample_shape"
                )
    return pnn.Network(layers)


def activation_name(module):
    """What `portable_nn.activations` calls an activation of PyTorch's."""
    match module:
        case nn.Sigmoid():
            return "sigmoid"
        case nn.ReLU():
            return "relu"
        case nn.Tanh():
            return "tanh"
        case nn.SiLU():
            return "silu"
        case nn.GELU(approximate="tanh"):
            return "gelu_tanh"
        case nn.GELU():
            return "gelu"
        case nn.ELU(alpha=1):
            return "elu"
        case nn.LeakyReLU(negative_slope=0.01):
            return "leaky_relu"
        case nn.Softplus(beta=1, threshold=20):
            return "softplus"
        case nn.Softmax(dim=-1 | 1):
            return "softmax"
        case nn.LogSoftmax(dim=-1 | 1):
            return "log_softmax"
    raise ValueError(
        f"{module} is not in portable_nn.activations, which has Sigmoid, ReLU, Tanh, SiLU, GELU, ELU(1), "
        "LeakyReLU(0.01), Softplus(1), and Softmax and LogSoftmax over the last axis"
    )


def to_numpy(tensor):
    """A parameter as a NumPy array."""
    return tensor.detach().cpu().numpy()


def from_sklearn(classifier):
    """The Network of a fitted `MLPClassifier`, whose labels are indices into `classifier.classes_`.

    Two classes have one sigmoid output, the probability of the second.
    """
    if classifier.out_activation_ == "logistic" and classifier.n_outputs_ > 1:
        raise ValueError("the classifier gives several labels to one sample, a Network gives one")
    hidden = [classifier.activation] * (len(classifier.coefs_) - 1)
    names = ["sigmoid" if name == "logistic" else name for name in [*hidden, classifier.out_activation_]]
    return pnn.Network(map(pnn.Dense, classifier.coefs_, classifier.intercepts_, names))


def compare(framework, net, ours, theirs):
    """Print how far apart the outputs of two networks are."""
    print(f"{framework}: {net}")
    print(f"  largest difference of outputs: {np.max(np.abs(ours - theirs)):.1e}")


def main():
    """Compare the outputs for images of digits before and after the conversion."""
    digits = sklearn.datasets.load_digits()
    images = digits.images / 16

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.GELU("tanh"), nn.Linear(32, 10), nn.Softmax(dim=1))
    net, x = from_torch(model, sample_shape=(8, 8)), torch.asarray(images, dtype=torch.float32)
    with torch.no_grad():
        compare("PyTorch", net, net(x).numpy(), model(x).numpy())

    x = images.reshape(-1, 64)
    for labels in digits.target, digits.target % 2:
        classifier = MLPClassifier((32,), "tanh", learning_rate_init=0.01, random_state=0).fit(x, labels)
        net = from_sklearn(classifier)
        compare("scikit-learn", net, net(x), classifier.predict_proba(x)[:, -net.output_shape[0] :])


if __name__ == "__main__":
    main()
