"""Estimators of scikit-learn around a network: its own checks, and its tools."""

import os
import pickle

import numpy as np
import pytest
from array_api_compat import array_namespace
from helpers import run_python

import portable_nn as pnn

pytest.importorskip("sklearn", reason='pip install "portable-nn[sklearn]"')

from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import validate_data

from portable_nn.sklearn import NetworkClassifier, NetworkRegressor

# scikit-learn's own checks. They come with data of all shapes, which no one trained network takes: so `fit`
# trains one here, by scikit-learn itself; all that comes after is the estimator's.


class TrainedClassifier(NetworkClassifier):
    net = property(lambda self: self.net_)

    def __init__(self):
        pass

    def fit(self, X, y):
        self.net_ = trained(LogisticRegression(), *validate_data(self, X, y))
        return super().fit(X, y)


class TrainedRegressor(NetworkRegressor):
    net = property(lambda self: self.net_)

    def __init__(self):
        pass

    def fit(self, X, y):
        data = validate_data(self, X, y, multi_output=True, y_numeric=True)
        self.net_ = trained(LinearRegression(), *data)
        return super().fit(X, y)


def trained(estimator, X, y):
    X, y = (pnn.backends.of(array, array_namespace(array)).to_numpy(array) for array in (X, y))
    if is_classifier(estimator) and y.dtype.kind == "f":
        if (y != y.astype(int)).any():
            raise ValueError("Unknown label type: continuous")
        y = y.astype(int)
    with config_context(array_api_dispatch=False):
        return pnn.from_sklearn(estimator.fit(X, y)).described(inputs=None)


DOES_NOT_APPLY = "check_array_api_same_namespace"  # a network follows its input: fit keeps no arrays


def checks(of_the_array_api):
    for estimator in (TrainedClassifier(), TrainedRegressor()):
        for one, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__
            if ("array_api" in name) is of_the_array_api and name != DOES_NOT_APPLY:
                yield pytest.param(one, check, id=f"{type(one).__name__}-{name}")


@pytest.mark.parametrize(("estimator", "check"), [*checks(of_the_array_api=False)])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


ARRAY_API = """
import sys, unittest, warnings
sys.path.insert(0, "tests")
from test_estimators import checks

warnings.simplefilter("ignore")
done = set()
for estimator, check in (parameter.values for parameter in checks(of_the_array_api=True)):
    library = check.keywords.get("array_namespace", "mixed")
    if library in ("numpy", "torch", "array_api_strict", "mixed"):
        try:
            check(estimator)
            done.add(library)
        except unittest.SkipTest:
            pass  # of a device that is not here
print(*sorted(done))
"""

ON_TORCH = """
import numpy as np, sklearn, torch
import portable_nn as pnn
from portable_nn.sklearn import NetworkClassifier, NetworkRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, get_scorer

x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
t, y = torch.asarray(x), torch.asarray(x.argmax(axis=1))
softmax = pnn.Dense(np.eye(3, dtype=np.float32), None, "softmax")
with sklearn.config_context(array_api_dispatch=True):
    classifier = FrozenEstimator(NetworkClassifier(pnn.Network([softmax])))
    for found in (classifier.predict(t), classifier.predict_proba(t), classifier.decision_function(t)):
        assert type(found) is torch.Tensor and found.shape[0] == 20, found
    assert classifier.score(t, y) == accuracy_score(y, classifier.predict(t)) == 1
    assert get_scorer("accuracy")(classifier, t, y) == 1
    named = NetworkClassifier(pnn.Network([softmax], classes=["b", "c", "a"]))
    assert named.predict(t).tolist() == np.array(["b", "c", "a"])[x.argmax(axis=1)].tolist()
    assert torch.equal(named.predict_proba(t), classifier.predict_proba(t)[:, [2, 0, 1]])
    values = NetworkRegressor(pnn.Network([pnn.Dense(np.ones((3, 1), dtype=np.float32))])).predict(t)
    assert type(values) is torch.Tensor and values.shape == (20,)
assert type(classifier.predict(t)) is np.ndarray
print("done")
"""


def test_arrays_of_other_libraries_go_through():
    """In a process of its own: SciPy decides at its import whether it lets them."""
    pytest.importorskip("torch")
    pytest.importorskip("array_api_strict")
    said = run_python("-c", ARRAY_API + ON_TORCH, env=os.environ | {"SCIPY_ARRAY_API": "1"})
    assert said.split() == ["array_api_strict", "mixed", "numpy", "torch", "done"]


# Its tools

X, KINDS = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
TRAINED = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, NAMES[KINDS])
NET = pnn.from_sklearn(TRAINED)


def test_it_gives_what_it_was_made_from():
    classifier = NetworkClassifier(NET)
    assert classifier.classes_.tolist() == NAMES.tolist()
    np.testing.assert_array_equal(classifier.predict(X), TRAINED.predict(X))
    np.testing.assert_allclose(classifier.predict_proba(X), TRAINED.predict_proba(X))
    assert classifier.score(X, NAMES[KINDS]) == TRAINED.score(X, NAMES[KINDS])
    gap = classifier.decision_function(X) - TRAINED.decision_function(X)
    np.testing.assert_allclose(gap, gap[:, :1] + 0 * gap, atol=1e-9)  # a softmax takes any offset


def test_scorers_of_outputs_in_another_order():
    """scikit-learn takes it that classes are sorted, and their columns with them."""
    softmax = TRAINED[-1]
    order = [2, 0, 1]
    layer = pnn.Dense(softmax.coef_[order].T, softmax.intercept_[order], "softmax")
    labels, scaled = NAMES[KINDS], TRAINED[0].transform(X)
    classifier = NetworkClassifier(pnn.Network([layer], classes=NAMES[order].tolist())).fit(scaled, labels)
    assert classifier.classes_.tolist() == softmax.classes_.tolist()
    np.testing.assert_array_equal(classifier.predict(scaled), softmax.predict(scaled))
    np.testing.assert_allclose(classifier.predict_proba(scaled), softmax.predict_proba(scaled))
    np.testing.assert_allclose(classifier.decision_function(scaled), softmax.decision_function(scaled))
    for scorer in ("neg_log_loss", "roc_auc_ovr"):
        found, wanted = (get_scorer(scorer)(one, scaled, labels) for one in (classifier, softmax))
        assert found == pytest.approx(wanted)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("names", [["a", "b"], ["b", "a"]], ids=str)
def test_two_classes_in_either_order(outputs, names):
    labels = np.array(["a", "b"])[(KINDS > 1).astype(int)]
    trained = LogisticRegression().fit(X, labels)
    ahead = trained.coef_.T * (1 if names == ["a", "b"] else -1)
    bias = trained.intercept_ * (1 if names == ["a", "b"] else -1)
    layer = pnn.Dense(ahead, bias, "sigmoid")
    if outputs == 2:
        layer = pnn.Dense(np.hstack([0 * ahead, ahead]), np.hstack([0, bias]), "softmax")
    classifier = NetworkClassifier(pnn.Network([layer], classes=names)).fit(X, labels)
    np.testing.assert_array_equal(classifier.predict(X), trained.predict(X))
    np.testing.assert_allclose(classifier.predict_proba(X), trained.predict_proba(X))
    np.testing.assert_allclose(classifier.decision_function(X), trained.decision_function(X), atol=1e-12)
    for scorer in ("neg_log_loss", "roc_auc"):
        assert get_scorer(scorer)(classifier, X, labels) == pytest.approx(get_scorer(scorer)(trained, X, labels))


def test_fit_checks_and_keeps():
    classifier = NetworkClassifier(NET)
    assert classifier.fit(X, NAMES[KINDS]) is classifier
    assert (classifier.net, classifier.n_features_in_) == (NET, 4)
    np.testing.assert_array_equal(classifier.predict(X), TRAINED.predict(X))
    with pytest.raises(pnn.ShapeError, match=r"labels \[0, 1, 2\] are none of the network's classes \['setosa'"):
        classifier.fit(X, KINDS)
    with pytest.raises(pnn.ShapeError, match="X has 3 features, the network takes 4"):
        NetworkClassifier(NET).fit(X[:, :3], NAMES[KINDS])
    with pytest.raises(ValueError, match="X has 3 features, but NetworkClassifier is expecting 4"):
        classifier.fit(X, NAMES[KINDS]).predict(X[:, :3])
    with pytest.raises(pnn.ShapeError, match="4"):
        NetworkClassifier(NET).predict(X[:, :3])


def test_the_names_of_features():
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    columns = ["sepal length", "sepal width", "petal length", "petal width"]
    table = pandas.DataFrame(X, columns=columns)
    np.testing.assert_array_equal(NetworkClassifier(NET).predict(table), TRAINED.predict(X))
    named = NetworkClassifier(NET.described(inputs=columns))
    np.testing.assert_array_equal(named.predict(table[columns[::-1]]), TRAINED.predict(X))
    named.fit(table, NAMES[KINDS])
    assert named.feature_names_in_.tolist() == columns
    np.testing.assert_array_equal(named.predict(table), TRAINED.predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        named.predict(table[columns[::-1]])
    with pytest.raises(pnn.ShapeError, match=r"X has features petal width.*the network takes sepal length"):
        NetworkClassifier(NET.described(inputs=columns)).fit(table[columns[::-1]], NAMES[KINDS])


def test_in_the_tools_of_scikit_learn():
    labels = NAMES[KINDS]
    classifier = NetworkClassifier(NET)
    assert is_classifier(classifier)
    assert not is_regressor(classifier)
    for copy in (clone(classifier), pickle.loads(pickle.dumps(classifier))):
        assert copy.net.same_architecture(NET)
        np.testing.assert_array_equal(copy.predict(X), classifier.predict(X))
    shifted = make_pipeline(FunctionTransformer(lambda x: x - 1), classifier).fit(X + 1, labels)
    assert shifted.score(X + 1, labels) == classifier.score(X, labels)
    for scorer in ("accuracy", "neg_log_loss", "roc_auc_ovr", "f1_macro"):
        assert get_scorer(scorer)(classifier, X, labels) == pytest.approx(get_scorer(scorer)(TRAINED, X, labels))
    assert cross_val_score(classifier, X, labels, cv=3).mean() == pytest.approx(classifier.score(X, labels))
    options = {"n_repeats": 2, "random_state": 0}
    ours, theirs = (permutation_importance(one, X, labels, **options) for one in (classifier, TRAINED))
    np.testing.assert_array_equal(ours.importances, theirs.importances)
    ours, theirs = (CalibratedClassifierCV(FrozenEstimator(one)).fit(X, labels) for one in (classifier, TRAINED))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


WEIGHT = np.array([[1.0], [-2.0]])
TWO = np.array([[0.5, 0.0], [0.0, 3.0], [0.0, 0.0]])


@pytest.mark.parametrize("classes", [None, ["no", "yes"], [-1, 1]])
def test_two_classes_of_one_sigmoid(classes):
    classifier = NetworkClassifier(pnn.Network([pnn.Dense(WEIGHT, None, "sigmoid")], classes=classes))
    labels = np.array(classes or [0, 1])
    assert classifier.classes_.tolist() == labels.tolist()
    assert classifier.predict(TWO).tolist() == labels[[1, 0, 1]].tolist()
    logits = (TWO @ WEIGHT)[:, 0]
    np.testing.assert_allclose(classifier.decision_function(TWO), logits)
    np.testing.assert_allclose(
        classifier.predict_proba(TWO), np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], 1)
    )


def test_two_classes_of_two_outputs_and_logs():
    net = pnn.Network([pnn.Dense(np.eye(2), None, "log_softmax")], task="classification")
    classifier = NetworkClassifier(net)
    np.testing.assert_allclose(classifier.decision_function(TWO), TWO[:, 1] - TWO[:, 0])
    np.testing.assert_allclose(classifier.predict_proba(TWO).sum(axis=1), 1)
    np.testing.assert_allclose(classifier.predict_proba(TWO), np.exp(net(TWO)))


def test_logits_are_no_probabilities():
    classifier = NetworkClassifier(pnn.Network([pnn.Dense(np.eye(2))], task="classification"))
    assert not hasattr(classifier, "predict_proba")
    assert classifier.predict(TWO).tolist() == [0, 1, 0]


def test_images_come_as_rows():
    net = pnn.Network([pnn.Flatten((2, 2)), pnn.Dense(np.eye(4), None, "softmax")])
    rows = np.random.default_rng(0).normal(size=(5, 4))
    classifier = NetworkClassifier(net).fit(rows, [0, 1, 2, 3, 3])
    np.testing.assert_array_equal(classifier.predict_proba(rows), net(rows.reshape(5, 2, 2)))
    with pytest.raises(pnn.ShapeError, match="X has 3 features, the network takes 4"):
        NetworkClassifier(net).predict(rows[:, :3])


def test_regression():
    several, one = (pnn.Network([pnn.Dense(np.random.default_rng(0).normal(size=(4, n)))]) for n in (3, 1))
    assert is_regressor(NetworkRegressor(one))
    assert NetworkRegressor(one).predict(X).shape == (150,)
    np.testing.assert_array_equal(NetworkRegressor(several).predict(X), several(X))
    assert NetworkRegressor(one).fit(X, one(X)[:, 0]).score(X, one(X)[:, 0]) == 1
    assert get_scorer("r2")(NetworkRegressor(several).fit(X, several(X)), X, several(X)) == 1
    with pytest.raises(pnn.ShapeError, match="y has 1 targets, the network gives 3"):
        NetworkRegressor(several).fit(X, KINDS)


@pytest.mark.parametrize(
    ("made", "error", "words"),
    [
        (
            NetworkClassifier("mnist"),
            pnn.InputError,
            "must be a portable_nn.Network, got str: load one with pnn.load",
        ),
        (NetworkRegressor(None), pnn.InputError, "got NoneType"),
        (NetworkClassifier(pnn.Network([pnn.Dense(np.ones((4, 1)))])), pnn.NetworkError, "NetworkRegressor"),
        (NetworkRegressor(NET), pnn.NetworkError, r"classification: use NetworkClassifier.*task=\"regression\""),
        (
            NetworkClassifier(pnn.Network([pnn.Dense(np.eye(4), None, "sigmoid")], task="multilabel")),
            pnn.NetworkError,
            "several labels to each sample",
        ),
        (
            NetworkClassifier(pnn.Network([pnn.Activation("softmax")])),
            pnn.NetworkError,
            r"as many outputs as features come: net\.described\(classes=\[\.\.\.\]\)",
        ),
    ],
)
def test_networks_that_do_not_fit(made, error, words):
    with pytest.raises(error, match=words):
        made.predict(X)
    with pytest.raises(error, match=words):
        made.fit(X, KINDS)


@pytest.mark.parametrize(
    "made", [NetworkClassifier(NET), NetworkRegressor(NET.described(task="regression", classes=None))]
)
@pytest.mark.parametrize("library", ["numpy", "dask.array"])
def test_values_that_are_not_there(made, library):
    asarray = pytest.importorskip(library, reason="pip install 'dask[array]'").asanyarray
    masked, labels = asarray(np.ma.masked_less(X, 1)), np.zeros(len(X), int)
    for call in (
        lambda: made.predict(masked),
        lambda: made.fit(masked, labels),
        lambda: made.fit(X, asarray(np.ma.masked_equal(labels, 0))),
        lambda: made.score(masked, labels),
    ):
        with pytest.raises(pnn.InputError, match=r"masked arrays .* x\.filled\(0\)"):
            call()
