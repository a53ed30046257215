"""A Dask cluster within this process: what workers and clients do where nothing is killed."""

import asyncio
import os
import sys

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.clients import dashboard

distributed = pytest.importorskip("distributed", reason="pip install 'dask[array,distributed]'")
pytest.importorskip("zarr", reason="pip install zarr")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="locks are of POSIX: run on Linux or macOS")

WITHIN = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}
COUNT, BLOCK = 100, 10


@pytest.fixture
def client():
    with distributed.Client(set_as_default=False, **WITHIN) as client:
        yield client


@pytest.fixture
def infer(mnist, mnist_test, tmp_path):
    """Label images by a client."""
    np.save(tmp_path / "x.npy", mnist_test[0][:COUNT])

    def infer(client, net=mnist, **options):
        return pnn.infer(
            net, tmp_path / "x.npy", client=client, out=tmp_path / "y.zarr", **{"block": BLOCK} | options
        )

    return infer


def test_what_workers_do(mnist, mnist_test, client, infer, tmp_path):
    images = mnist_test[0][:COUNT].astype(np.float32)
    given = np.r_[0:15, 25:COUNT]
    images[15:25] = np.nan
    np.save(tmp_path / "x.npy", images)
    with pytest.warns(pnn.InputWarning, match="nothing but nan in 10 of the samples"):
        found = infer(client)
    np.testing.assert_array_equal(found[:][given], mnist.predict(images[given]))
    np.testing.assert_allclose(infer(client, outputs=True, overwrite=True)[:], mnist(images), atol=1e-6)


def test_blocks_that_take_longer_than_a_tick_are_waited_for(mnist, mnist_test, client, infer, monkeypatch):
    monkeypatch.setattr("portable_nn.cluster.TICK", 0)
    np.testing.assert_array_equal(infer(client)[:], mnist.predict(mnist_test[0][:COUNT]))


BEADS = """
import array_api_compat.numpy
from portable_nn.backends import Backend

class Beads(Backend):
    def place(self, array, *, share=False):
        raise LookupError("beads are lost")

BEADS = Beads(array_api_compat.numpy, None)
"""


def test_what_a_worker_raises_is_named_with_its_block(client, infer, tmp_path, monkeypatch):
    (tmp_path / "beads_that_are_lost.py").write_text(BEADS)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(pnn.ClusterError, match=r"block \d+ failed on a worker: LookupError: beads are lost"):
        infer(client, backend="beads_that_are_lost:BEADS")


def test_a_client_that_is_closed(client, infer):
    client.close()
    with pytest.raises(pnn.ClusterError, match="was lost, or dropped the work"):
        infer(client)


def test_a_client_that_is_closed_amid_the_work(client, infer):
    with pytest.raises(pnn.ClusterError, match="was lost, or dropped the work; what is done is kept"):
        infer(client, block=1, progress=lambda done: client.close())


def test_a_client_that_cannot_be_waited_for(client, infer):
    async def call():
        options = {"asynchronous": True, "set_as_default": False}
        async with distributed.Client(client.scheduler.address, **options) as other:
            with pytest.raises(pnn.InputError, match="the client is asynchronous, and results are waited for"):
                infer(other)

    asyncio.run(call())


def test_without_distributed(infer, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(pnn.BackendError, match=r"needs distributed: pip install 'dask\[array,distributed\]'"):
        infer(object())


def test_the_dashboard_is_named_where_it_can_be(client):
    import dask

    assert dashboard(client).startswith("http://")
    with dask.config.set({"distributed.dashboard.link": "{NO_SUCH_VARIABLE}/{port}"}):
        assert dashboard(client) == ""
