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

VALUES = [0.0224, 0.12, 0.67, 0.06, 0.965, 3.05]  # of omega_b, omega_cdm, h, tau_reio, n_s, ln10^{10}A_s


def main(path):
    net = pnn.load(path, last="exp10")  # its modes are logarithms
    x = np.array(VALUES, dtype=np.float32)
    spectrum = net(x)
    print("parameters:", *net.inputs)
    print(f"NumPy: {len(spectrum)} modes, from l={net.outputs[0]} to l={net.outputs[-1]}")

    parameters = torch.asarray(x).requires_grad_()
    net(parameters)[200].log().backward()
    print("PyTorch, d log C_202 / d parameters:", parameters.grad.numpy().round(3))

    gradient = jax.grad(lambda x: jax.numpy.log(net(x)[200]))(x)
    print("JAX, d log C_202 / d parameters:", np.round(np.asarray(gradient), 3))


if __name__ == "__main__":
    main(sys.argv[1])
