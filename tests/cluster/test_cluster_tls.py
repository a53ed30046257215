"""A cluster that speaks TLS: by Dask's own settings for the command, by the user's own client in Python."""

import os
import subprocess
from shutil import which

import numpy as np
import pytest
from clusters import Cluster
from commands import MODULE, environment

import portable_nn as pnn

pytest.importorskip("distributed", reason="pip install 'dask[array,distributed]'")
zarr = pytest.importorskip("zarr", reason="pip install zarr")
pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="kills are POSIX signals: run on Linux or macOS"),
    pytest.mark.skipif(which("openssl") is None, reason="certificates are made by openssl: install it"),
]

COUNT, BLOCK = 200, 60


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A key, and a certificate of it that it has signed itself."""
    folder = tmp_path_factory.mktemp("certificates")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=dask",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return {"ca-file": certificate, "key": key, "cert": certificate}


def settings(files):
    """Dask's, as environment variables."""
    prefix = "DASK_DISTRIBUTED__COMM__"
    roles = {
        f"{prefix}TLS__{role}__{name.upper()}": str(files[name])
        for role in ("SCHEDULER", "WORKER", "CLIENT")
        for name in ("key", "cert")
    }
    return roles | {f"{prefix}TLS__CA_FILE": str(files["ca-file"]), f"{prefix}REQUIRE_ENCRYPTION": "True"}


@pytest.fixture(scope="module")
def address(files, tmp_path_factory):
    """Of a scheduler with one worker."""
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(folder, workers=0, options=["--protocol", "tls"], **settings(files)) as cluster:
        cluster.add_worker(**settings(files))
        yield cluster.address


@pytest.fixture
def source(tmp_path, mnist_test):
    np.save(tmp_path / "x.npy", mnist_test[0][:COUNT])
    return tmp_path / "x.npy"


@pytest.fixture
def wanted(mnist_test):
    return pnn.load("mnist").predict(mnist_test[0][:COUNT])


def test_a_client_of_the_users_own(address, files, source, wanted, tmp_path):
    from distributed import Client
    from distributed.security import Security

    assert address.startswith("tls://")
    security = Security(
        tls_ca_file=str(files["ca-file"]),
        tls_client_cert=str(files["cert"]),
        tls_client_key=str(files["key"]),
        require_encryption=True,
    )
    with Client(address, security=security, set_as_default=False) as client:
        found = pnn.infer(pnn.load("mnist"), source, client=client, out=tmp_path / "y.zarr", block=BLOCK)
    np.testing.assert_array_equal(found[:], wanted)


def predict(source, address, out, **changes):
    return subprocess.run(
        [*MODULE, "predict", source, "--out", out, "--block-size", str(BLOCK), "--scheduler", address],
        capture_output=True, text=True, check=False, env=environment(**changes),
    )  # fmt: skip


def test_the_command(address, files, source, wanted, tmp_path):
    done = predict(source, address, tmp_path / "y.zarr", **settings(files))
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "y.zarr", mode="r")[:], wanted)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Dask's settings under distributed.comm.tls name no certificates"),
        ({"ca-file": "no such file", "key": "no such file", "cert": "no such file"}, "No such file"),
    ],
    ids=["none", "no files"],
)
def test_without_certificates(address, source, tmp_path, given, message):
    done = predict(source, address, tmp_path / "y.zarr", **(settings(given) if given else {}))
    assert done.returncode == 2
    assert done.stderr.startswith(f"portable-nn: there is no scheduler at {address}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert os.listdir(tmp_path) == ["x.npy"]
