"""What type checkers must refuse: they say so of a mark that is not needed, too."""

import numpy as np

import portable_nn as pnn
from portable_nn.activations import relu

net = pnn.load("mnist")
weight = np.zeros((2, 3))

net("hello")  # type: ignore[call-overload]  # pyright: ignore
net(None)  # type: ignore[call-overload]  # pyright: ignore
net.predict(b"hello")  # type: ignore[call-overload]  # pyright: ignore
net.logits({1, 2})  # type: ignore[call-overload]  # pyright: ignore
relu("hello")  # type: ignore[call-overload]  # pyright: ignore
relu(weight, negative_slope=0.1)  # type: ignore[call-overload]  # pyright: ignore

pnn.Dense("hello")  # type: ignore[arg-type]  # pyright: ignore
pnn.Dense(weight, None, "softmx")  # type: ignore[arg-type]  # pyright: ignore
pnn.Dense(weight, None, "prelu")  # type: ignore[arg-type]  # pyright: ignore
pnn.Dense.from_linear(weight, activation="ReLU")  # type: ignore[arg-type]  # pyright: ignore
pnn.Activation("swish")  # type: ignore[arg-type]  # pyright: ignore
pnn.Rescaling("1 / 255")  # type: ignore[arg-type]  # pyright: ignore
pnn.Normalize(2.0)  # type: ignore[arg-type]  # pyright: ignore
pnn.Network(pnn.Flatten((28, 28)))  # type: ignore[arg-type]  # pyright: ignore
pnn.load("net.pt", last="softmx")  # type: ignore[arg-type]  # pyright: ignore
pnn.load("net.pt", task="labels")  # type: ignore[arg-type]  # pyright: ignore

net.astype("float23")  # type: ignore[arg-type]  # pyright: ignore
pnn.evaluate(net, "hello", [1])  # type: ignore[arg-type]  # pyright: ignore
pnn.compare(net, "hello")  # type: ignore[arg-type]  # pyright: ignore
pnn.compare(net, weight, dtypes=["float23"])  # type: ignore[list-item]  # pyright: ignore
pnn.infer(net, 3 + 2j)  # type: ignore[arg-type]  # pyright: ignore
pnn.explain(net, "hello")  # type: ignore[arg-type]  # pyright: ignore
pnn.datasets.mnist("tset")  # type: ignore[arg-type]  # pyright: ignore
print(pnn.backends.status()[0].state == "raedy")  # type: ignore[comparison-overlap]  # pyright: ignore
pnn.laod("mnist")  # type: ignore[attr-defined]  # pyright: ignore
