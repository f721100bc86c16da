"""Values pasted into src/med3d/tabular/logistic_test.cc.

python3 logistic.py   (written with scikit-learn 1.2.1, numpy 1.24.2)
"""
import numpy as np
from sklearn.linear_model import LogisticRegression


def table(n, p):
    """The same integers in C++ and Python: no random generator to agree on."""
    i, j = np.arange(n)[:, None], np.arange(p)[None, :]
    return ((i * 37 + j * 101 + i * i * 7 + i * j * 13) % 97) / 97.0 - 0.5


def labels(n):
    i = np.arange(n)
    return ((i * 29 + i * i * 5) % 31 < 9).astype(int)


def show(name, model, x):
    print(name, "intercept", repr(float(model.intercept_[0])))
    print("  first", [float(v) for v in model.coef_[0][:4]])
    print("  sum of squares", repr(float((model.coef_**2).sum())))
    print("  first p", [float(v) for v in model.predict_proba(x)[:3, 1]])


def fit(x, y, weight=None, **options):
    return LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=1000, **options).fit(x, y, weight)


x, y = table(60, 4), labels(60)
show("plain", fit(x, y), x)
show("balanced C=10", fit(x, y, C=10.0, class_weight="balanced"), x)
show("weights", fit(x, y, np.arange(60) % 3 + 0.5), x)
x, y = table(40, 90), labels(40)
show("wide", fit(x, y, C=0.5), x)
show("wide balanced", fit(x, y, C=2.0, class_weight="balanced"), x)
