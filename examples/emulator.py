"""A published emulator of CMB temperatures, as a function of any library's arrays, with its gradient.

    pip download --no-deps cosmopower-jax==0.5.8 && unzip cosmopower_jax-*.whl
    python examples/emulator.py cosmopower_jax/trained_models/cmb_tt.pkl

Neither CosmoPower nor TensorFlow is needed.
"""

import sys

import jax
import numpy as np
import torch

import portable_nn as pnn

COSMOLOGY = {
    "omega_b": 0.0224,
    "omega_cdm": 0.12,
    "h": 0.67,
    "tau_reio": 0.06,
    "n_s": 0.965,
    "ln10^{10}A_s": 3.05,
}


def main(path):
    net = pnn.load(path, last="exp10")  # its modes are logarithms
    x = np.array([COSMOLOGY[name] for name in net.inputs], dtype=np.float32)
    spectrum = net(x)
    print(f"NumPy: {len(spectrum)} modes, from l={net.outputs[0]} to l={net.outputs[-1]}")

    parameters = torch.asarray(x).requires_grad_()
    net(parameters)[200].log().backward()
    print("PyTorch, d log C_202 / d parameters:", parameters.grad.numpy().round(3))

    gradient = jax.grad(lambda x: jax.numpy.log(net(x)[200]))(x)
    print("JAX, d log C_202 / d parameters:", np.round(np.asarray(gradient), 3))


if __name__ == "__main__":
    main(sys.argv[1])
