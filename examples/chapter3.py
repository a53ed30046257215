"""Chapter 3 of "Deep Learning from Scratch" in its order, on any array library.

    python examples/chapter3.py [--backend torch:cpu] [--one-by-one 1000]

Each section is a function from a backend to named values, which `main` prints.
"""

import argparse
import warnings

import numpy as np

import portable_nn as pnn
from portable_nn import Dense, Network
from portable_nn.activations import relu, sigmoid, softmax, step, tanh

W1, B1 = np.array([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), np.array([0.1, 0.2, 0.3])
W2, B2 = np.array([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]), np.array([0.1, 0.2])
W3, B3 = np.array([[0.1, 0.3], [0.2, 0.4]]), np.array([0.1, 0.2])

TWO_ROWS = [[1, 2, 3, 4], [1, 3, 5, 7]]
BATCH = 100


def floats(backend, values):
    """`values` on the backend, in float64 where it has that."""
    return backend.place(np.asarray(values, dtype=backend.dtype_name(backend.dtype("float64"))))


def integers(backend, values):
    """`values` on the backend, in int32, which every device has."""
    return backend.place(np.asarray(values, dtype=np.int32))


def perceptron(backend):
    """One perceptron: it fires where the weighted sum of its inputs and its bias is not negative."""
    both = Network([Dense(np.array([[0.5], [0.5]]), np.array([-0.7]), "step")])
    return {"AND of [0 0], [0 1], [1 0], [1 1]": both(floats(backend, [[0, 0], [0, 1], [1, 0], [1, 1]]))[:, 0]}


def linear_layers(backend):
    """Linear hidden layers collapse into one: (X W1 + B1) W2 + B2 = X (W1 W2) + (B1 W2 + B2)."""
    x = floats(backend, [1.0, 0.5])
    return {
        "two linear layers": Network([Dense(W1, B1), Dense(W2, B2)])(x),
        "one linear layer": Network([Dense(W1 @ W2, B1 @ W2 + B2)])(x),
    }


def activations(backend):
    """The activations: what bends the line."""
    x = floats(backend, [-1.0, 1.0, 2.0])
    return {f"{h.__name__}([-1, 1, 2])": h(x) for h in (step, sigmoid, relu, tanh)}


def first_layer(backend):
    """The first layer: A1 = X W1 + B1, Z1 = sigmoid(A1)."""
    a1 = Network([Dense(W1, B1)])(floats(backend, [1.0, 0.5]))
    return {"A1": a1, "Z1": sigmoid(a1)}


def three_layers(backend):
    """The three-layer network: two sigmoid layers, then the identity."""
    net = Network([Dense(W1, B1, "sigmoid"), Dense(W2, B2, "sigmoid"), Dense(W3, B3, "identity")])
    return {"Y": net(floats(backend, [1.0, 0.5]))}


def softmax_of_a_vector(backend):
    """The softmax: exponentials over their sum."""
    return {"softmax([-0.2, 1.5, 4.3])": softmax(floats(backend, [-0.2, 1.5, 4.3]))}


def overflow(backend):
    """A bare exp overflows; softmax subtracts the maximum first, which changes no quotient."""
    x = floats(backend, [1010, 1000, 990])
    return {"exp([1010, 1000, 990])": backend.xp.exp(x), "softmax([1010, 1000, 990])": softmax(x)}


def sums(backend):
    """Sums over a whole batch, and along an axis: one for each row."""
    xp, values = backend.xp, {}
    for rows in ([[1, 2, 3], [4, 5, 6]], TWO_ROWS):
        x = integers(backend, rows)
        values[f"sum of {rows}"] = xp.sum(x, dtype=x.dtype)
        values[f"sum of {rows} along axis 1"] = xp.sum(x, axis=1, dtype=x.dtype)
    x = floats(backend, TWO_ROWS)
    values["each over the sum of all"] = x / xp.sum(x)
    values["each over the sum of its row"] = x / xp.sum(x, axis=1, keepdims=True)
    return values


def softmax_of_a_batch(backend):
    """The softmax of a batch: each row by itself. 1-D in is 1-D out."""
    x = floats(backend, TWO_ROWS)
    return {
        f"softmax({TWO_ROWS[0]})": softmax(x[0, :]),
        f"softmax({TWO_ROWS})": softmax(x),
        "the wrong softmax of the same": wrong_softmax(backend, x),
    }


def wrong_softmax(backend, x):
    """Divided by the sum over the whole batch: no row sums to 1."""
    e = backend.xp.exp(x - backend.xp.max(x))
    return e / backend.xp.sum(e)


def mnist(backend, one_by_one):
    """MNIST: one image at a time, in batches, and with the wrong softmax, whose accuracy gives nothing away."""
    net = pnn.load("mnist")
    images, labels = pnn.datasets.mnist("test")
    single = pnn.evaluate(net, images[:one_by_one], labels[:one_by_one], backend=backend, per_sample=True)
    batches = pnn.evaluate(net, images, labels, backend=backend, batch_size=BATCH)
    return {
        f"accuracy, {single.total} images one at a time": single.accuracy,
        f"accuracy, {batches.total} images in batches of {BATCH}": batches.accuracy,
        "the same with the wrong softmax": accuracy_of_wrong_softmax(backend, net, images, labels),
    }


def accuracy_of_wrong_softmax(backend, net, images, labels):
    """One divisor for a whole batch changes the order in no row, and so no label."""
    predicted = []
    for i in range(0, len(images), BATCH):
        wrong = wrong_softmax(backend, net.logits(backend.place(images[i : i + BATCH])))
        predicted.append(backend.to_numpy(wrong).argmax(axis=1))
    return float(np.mean(np.concatenate(predicted) == labels))


SECTIONS = (
    perceptron,
    linear_layers,
    activations,
    first_layer,
    three_layers,
    softmax_of_a_vector,
    overflow,
    sums,
    softmax_of_a_batch,
)


def show(heading, values):
    """Print the values of a section under its heading, tables on lines of their own."""
    print(f"\n{heading}")
    for name, value in values.items():
        print(f"  {name}", *str(value).splitlines(), sep="\n    " if np.ndim(value) > 1 else "  ")


def main():
    """Print every section."""
    parser = argparse.ArgumentParser(description="Chapter 3 of Deep Learning from Scratch on any array library.")
    parser.add_argument("--backend", default="numpy", metavar="SPEC", help="such as torch:cpu (default: numpy)")
    parser.add_argument(
        "--one-by-one", default=10_000, type=int, metavar="N",
        help="images to take one at a time, which is slow on lazy libraries (default: all 10000)",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        backend = pnn.backends.get(options.backend)
    except pnn.BackendError as error:
        parser.error(str(error))
    warnings.filterwarnings("ignore", "overflow encountered in exp")  # that it does is the point
    print(f"Chapter 3 on {backend}")
    for section in SECTIONS:
        show(section.__doc__, {name: backend.to_numpy(value) for name, value in section(backend).items()})
    show(mnist.__doc__, mnist(backend, options.one_by_one))


if __name__ == "__main__":
    main()
