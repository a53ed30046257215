"""Random architectures that branch, as Hypothesis draws them, and what Keras and PyTorch make of one.

A recipe has the widths of its inputs, steps that take the values before them by number, the numbers of those that
come out, and a seed of its weights. Their sizes keep values near 1.
"""

import numpy as np
from hypothesis import strategies as st

MERGES = ("add", "subtract", "multiply", "average", "maximum", "minimum")
ACTIVATIONS = ("tanh", "sigmoid", "relu", "gelu", "silu", "softplus")


@st.composite
def recipes(draw, inputs=2, outputs=3):
    widths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=inputs))
    first, steps, dense = len(widths), [], []
    for _ in range(draw(st.integers(2, 7))):
        i = draw(st.integers(0, len(widths) - 1))
        alike = [j for j, width in enumerate(widths) if width == widths[i]]
        match draw(st.sampled_from(("dense", "merge", "merge", "concat", "norm", "activation", "again"))):
            case "again" if fitting := [k for k in dense if widths[steps[k][1]] == widths[i]]:
                k = draw(st.sampled_from(fitting))
                steps.append(("again", i, k))
                widths.append(steps[k][2])
            case "merge":
                steps.append((draw(st.sampled_from(MERGES)), i, draw(st.sampled_from(alike))))
                widths.append(widths[i])
            case "concat" if widths[i] < 8:
                j = draw(st.integers(0, first - 1))
                steps.append(("concat", i, j))
                widths.append(widths[i] + widths[j])
            case "norm":
                steps.append((draw(st.sampled_from(("batch", "layer"))), i))
                widths.append(widths[i])
            case "activation":
                steps.append((draw(st.sampled_from(ACTIVATIONS)), i))
                widths.append(widths[i])
            case _:
                dense.append(len(steps))
                steps.append(("dense", i, draw(st.integers(1, 5)), draw(st.sampled_from(ACTIVATIONS))))
                widths.append(steps[-1][2])
    ends = draw(st.sets(st.integers(first, len(widths) - 2), max_size=outputs - 1)) | {len(widths) - 1}
    return tuple(widths[:first]), tuple(steps), tuple(sorted(ends)), draw(st.integers(0, 2**16))


def samples(recipe, count=7):
    """Inputs by name, in float64."""
    rng = np.random.default_rng(recipe[-1])
    return {name: rng.normal(size=(count, width)) for name, width in zip("ab", recipe[0], strict=False)}


def weights(recipe):
    """A function that gives the next weights of a shape; of variances with ``positive``."""
    rng = np.random.default_rng(recipe[-1] + 1)

    def drawn(*shape, positive=False):
        values = rng.normal(size=shape) / np.sqrt(shape[0] if len(shape) > 1 else 1)
        return 0.5 + np.abs(values) if positive else values

    return drawn


def in_keras(recipe):
    """The model, in float64; its outputs are a dict where there are several."""
    import keras
    from keras import layers

    widths, steps, ends, _ = recipe
    drawn, kwargs = weights(recipe), {"dtype": "float64"}
    values = [
        keras.Input((width,), name=name, dtype="float64") for name, width in zip("ab", widths, strict=False)
    ]
    inputs, made = list(values), {}
    for k, (kind, i, *rest) in enumerate(steps):
        x = values[i]
        match kind, rest:
            case "dense", (width, activation):
                made[k] = layers.Dense(width, activation, **kwargs)
                y = made[k](x)
                made[k].set_weights([drawn(x.shape[-1], width), drawn(width)])
            case "again", (number,):
                y = made[number](x)
            case "concat", (j,):
                y = layers.Concatenate(**kwargs)([x, values[j]])
            case "batch", ():
                layer, n = layers.BatchNormalization(epsilon=0.1, **kwargs), x.shape[-1]
                y = layer(x)
                layer.set_weights([drawn(n), drawn(n), drawn(n), drawn(n, positive=True)])
            case "layer", ():
                layer, n = layers.LayerNormalization(epsilon=0.1, **kwargs), x.shape[-1]
                y = layer(x)
                layer.set_weights([drawn(n), drawn(n)])
            case _, (j,):
                y = getattr(layers, kind.title())(**kwargs)([x, values[j]])
            case _:
                y = layers.Activation(kind, **kwargs)(x)
        values.append(y)
    outputs = {f"y{i}": values[i] for i in ends}
    return keras.Model(inputs, outputs if len(ends) > 1 else values[ends[0]])


def in_torch(recipe):
    """The module, in float64; it gives a dict where there are several outputs."""
    import torch
    from torch import nn

    widths, steps, ends, _ = recipe
    drawn, sizes, modules = weights(recipe), list(widths), {}

    def loaded(module, **arrays):
        module.load_state_dict({key: torch.as_tensor(value) for key, value in arrays.items()}, strict=False)
        return module

    for k, (kind, i, *rest) in enumerate(steps):
        n = sizes[i]
        match kind:
            case "dense":
                modules[str(k)] = loaded(
                    nn.Linear(n, rest[0]).double(), weight=drawn(n, rest[0]).T, bias=drawn(rest[0])
                )
            case "batch":
                arrays = {key: drawn(n) for key in ("weight", "bias", "running_mean")}
                modules[str(k)] = loaded(
                    nn.BatchNorm1d(n, eps=0.1).double(), running_var=drawn(n, positive=True), **arrays
                )
            case "layer":
                modules[str(k)] = loaded(nn.LayerNorm(n, eps=0.1).double(), weight=drawn(n), bias=drawn(n))
        match kind:
            case "dense":
                sizes.append(rest[0])
            case "again":
                sizes.append(steps[rest[0]][2])
            case _:
                sizes.append(n + sizes[rest[0]] if kind == "concat" else n)

    activations = {name: getattr(nn.functional, name) for name in ACTIVATIONS}
    merges = {
        "add": lambda x, y: x + y,
        "subtract": torch.sub,
        "multiply": lambda x, y: x.mul(y),
        "average": lambda x, y: (x + y) / 2,
        "maximum": torch.maximum,
        "minimum": torch.minimum,
        "concat": lambda x, y: torch.cat([x, y], dim=-1),
    }

    class Drawn(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict(modules)

        def run(self, *values):
            values = list(values)
            for k, (kind, i, *rest) in enumerate(steps):
                x = values[i]
                if kind == "dense":
                    y = activations[rest[1]](self.parts[str(k)](x))
                elif kind == "again":
                    y = self.parts[str(rest[0])](x)
                    y = activations[steps[rest[0]][3]](y)
                elif kind in merges:
                    y = merges[kind](x, values[rest[0]])
                else:
                    y = self.parts[str(k)](x) if kind in ("batch", "layer") else activations[kind](x)
                values.append(y)
            return {f"y{i}": values[i] for i in ends} if len(ends) > 1 else values[ends[0]]

        if len(widths) > 1:

            def forward(self, a, b):
                return self.run(a, b)
        else:

            def forward(self, a):
                return self.run(a)

    return Drawn()
