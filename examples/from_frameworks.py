"""Networks trained with PyTorch or scikit-learn, run on any array library.

    python examples/from_frameworks.py

Live ones are taken over here; `portable_nn.load` reads the files that the frameworks write, without them.
"""

import numpy as np
import sklearn.datasets
import torch
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import portable_nn as pnn


def main():
    digits = sklearn.datasets.load_digits()
    x = digits.data.astype(np.float32)

    model = nn.Sequential(
        nn.Linear(64, 32), nn.BatchNorm1d(32), nn.GELU(), nn.Dropout(), nn.Linear(32, 10)
    ).eval()
    with torch.no_grad():
        wanted = model(torch.asarray(x)).numpy()
    report("PyTorch", pnn.from_torch(model), x, wanted)

    estimator = make_pipeline(StandardScaler(), MLPClassifier((32,), tol=0.1, random_state=0))
    estimator.fit(digits.data, digits.target)
    report("scikit-learn", pnn.from_sklearn(estimator), digits.data, estimator.predict_proba(digits.data))


def report(framework, net, x, wanted):
    print(f"{framework}: {net}")
    for status in pnn.backends.status():
        if status.state == "ready":
            backend = pnn.backends.get(status.name)
            found = backend.to_numpy(net(backend.place(x.astype(np.float32))))
            print(f"  {status.name}: largest difference of outputs: {np.abs(found - wanted).max():.1e}")


if __name__ == "__main__":
    main()
