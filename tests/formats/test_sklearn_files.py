"""scikit-learn's estimators, from files: they give what live ones do."""

import pickle

import numpy as np
import pytest
from helpers import run_python
from sklearn_cases import NAMES, X, every_case, fitted, same

import portable_nn as pnn
from portable_nn.formats.sklearn import read_sklearn
from portable_nn.readers.joblib import read_joblib

pytest.importorskip("joblib", reason="the oracle: pip install scikit-learn pandas")
pytest.importorskip("pandas", reason="the oracle: pip install scikit-learn pandas")
pytest.importorskip("sklearn", reason="the oracle: pip install scikit-learn pandas")
import joblib
import pandas
from sklearn.neural_network import MLPClassifier


@every_case
@pytest.mark.parametrize("write", ["pickle", "joblib"])
def test_files_give_what_live_estimators_do(tmp_path, case, write):
    estimator, path = fitted(case), tmp_path / f"net.{write}"
    if write == "pickle":
        path.write_bytes(pickle.dumps(estimator))
    else:
        joblib.dump(estimator, path)
    same(read_sklearn(path), pnn.from_sklearn(estimator))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(tmp_path, protocol):
    estimator, path = fitted("target: logarithms"), tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(estimator, protocol))
    same(pnn.load(path), pnn.from_sklearn(estimator))


WITHOUT = """
import sys
for name in ("sklearn", "joblib", "scipy", "pandas"):
    sys.modules[name] = None
import numpy as np
import portable_nn as pnn
net = pnn.load(sys.argv[1])
np.save(sys.argv[2], net(np.load(sys.argv[3])))
print(net.classes, net.inputs)
"""


@pytest.mark.parametrize("suffix", ["pkl", "joblib"])
def test_where_no_scikit_learn_is(tmp_path, suffix):
    estimator = fitted("logistic regression of three", named=True)
    path, out, data = tmp_path / f"net.{suffix}", tmp_path / "out.npy", tmp_path / "x.npy"
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(estimator))
    else:
        joblib.dump(estimator, path, compress=3)
    np.save(data, X)
    assert run_python("-c", WITHOUT, path, out, data).splitlines() == [f"('cat', 'dog', 'eel') {tuple(NAMES)}"]
    wanted = estimator.predict_proba(pandas.DataFrame(X, columns=NAMES))
    np.testing.assert_allclose(np.load(out), wanted, rtol=1e-10)


def test_the_file_is_named(tmp_path):
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(MLPClassifier()))
    with pytest.raises(pnn.FormatError, match=r"net.pkl: MLPClassifier has no coefs_: fit it first"):
        pnn.load(path)


def test_records_are_what_files_hold(tmp_path):
    path = tmp_path / "net.joblib"
    joblib.dump(fitted("ridge"), path)
    assert read_joblib(path).name == "sklearn.linear_model._ridge.Ridge"
