"""One comparison that the reports are tested on: two backends that agree, and one of each fault."""

import sys
from pathlib import Path

import pytest

import portable_nn as pnn

sys.path.insert(0, str(Path(__file__).parents[1]))  # where faulty.py lies


@pytest.fixture(scope="session")
def images():
    return pnn.datasets.mnist("test")[0][:500]


@pytest.fixture(scope="session")
def comparison(images):
    labels = pnn.datasets.mnist("test")[1][:500]
    backends = ["numpy", "array_api_strict", "faulty:NOISY", "faulty:WRONG_AXIS", "faulty:CRASHING"]
    return pnn.compare(
        pnn.load("mnist"),
        images,
        labels,
        backends=backends,
        batch_sizes=[10, 500],
        iterations=2,
        warm_up=0,
        model="<script>alert(1)</script>",
    )
