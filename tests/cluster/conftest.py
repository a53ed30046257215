"""Images in files, a cluster with two workers, and what it gives."""

import numpy as np
import pytest
from clusters import BLOCK, COUNT, Cluster, contents

import portable_nn as pnn


@pytest.fixture(scope="package")
def mnist():
    return pnn.load("mnist")


@pytest.fixture(scope="package")
def images(mnist_test):
    return mnist_test[0][:COUNT]


@pytest.fixture(scope="package")
def folder(tmp_path_factory, images):
    """Where the images lie, whole and in parts."""
    import zarr

    folder = tmp_path_factory.mktemp("data")
    np.save(folder / "x.npy", images)
    for i, part in enumerate(np.split(images, [1234, 1300, 4000])):
        np.save(folder / f"part-{i}.npy", part)
    zarr.create_array(folder / "x.zarr", data=images, chunks=(700, 784))
    return folder


@pytest.fixture(scope="package")
def client(tmp_path_factory):
    """Of a scheduler with two workers."""
    with Cluster(tmp_path_factory.mktemp("cluster"), workers=2) as cluster, cluster.client() as client:
        yield client


@pytest.fixture(scope="package")
def wanted(mnist, folder, client, tmp_path_factory):
    """The files of an uninterrupted run."""
    out = tmp_path_factory.mktemp("wanted") / "y.zarr"
    pnn.infer(mnist, folder / "x.npy", client=client, out=out, block=BLOCK, outputs=True)
    return contents(out)
