"""What tests of comparisons share: options that take no time, and samples."""

import numpy as np

QUICK = {"batch_sizes": [64], "iterations": 1, "warm_up": 0}


INPUTS = np.random.default_rng(0).normal(size=(5000, 64))
