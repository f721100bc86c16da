"""Values pasted into src/med3d/tabular/resample_test.cc and split_test.cc.

python3 resample.py   (written with imbalanced-learn 0.10.0, scikit-learn 1.2.1, numpy 1.24.2)
"""
import numpy as np
from imblearn.over_sampling import ADASYN, SMOTE, SMOTENC, RandomOverSampler
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold, train_test_split
from sklearn.neighbors import NearestNeighbors


def grid(n, p, levels):
    """Small integers, many of them equal; the same in C++ and Python."""
    i, j = np.arange(n)[:, None], np.arange(p)[None, :]
    return ((i * 37 + j * 101 + i * i * 7 + i * j * 13) % 97 % levels).astype(float)


def checksum(index):
    i, j = np.arange(index.shape[0])[:, None], np.arange(index.shape[1])[None, :]
    return int((index * (i % 89 + 1) * (j + 1)).sum())


print("neighbours")
for n, p, levels, k in [(400, 4, 3, 6), (333, 7, 2, 9), (90, 2, 5, 4), (120, 20, 2, 6), (50, 3, 2, 30)]:
    x = grid(n, p, levels)
    nn = NearestNeighbors(n_neighbors=k).fit(x)
    print(" ", (n, p, levels, k), nn._fit_method, checksum(nn.kneighbors(x, return_distance=False)))

print("smotenc")
x = grid(40, 4, 97)
x[:, 2] %= 3
x[:, 3] %= 4
y = (np.arange(40) % 10 < 7).astype(int)
x_res, y_res = SMOTENC(categorical_features=[2, 3], random_state=7, k_neighbors=4).fit_resample(x, y)
for row in x_res[40:]:
    print("  {" + ", ".join(repr(float(v)) for v in row) + "},")
x[:, :2] = 3
x[30:, 0] = 4  # the smaller class keeps a spread of its own only by these
x_res, y_res = SMOTENC(categorical_features=[2, 3], random_state=3).fit_resample(x, 1 - y)
print("  second:", checksum(x_res * 1000 // 1), x_res.shape, float(x_res.sum()))
x[:, :2] = 3
x_res, y_res = SMOTENC(categorical_features=[2, 3], random_state=3).fit_resample(x, y)
print("  no spread:", checksum(x_res), x_res.shape)

print("random")
ros = RandomOverSampler(random_state=11).fit(x, y)
ros.fit_resample(x, y)
print(" ", list(ros.sample_indices_[40:]))

print("three classes")
x = grid(90, 5, 50)
y = np.array([0] * 50 + [1] * 25 + [2] * 15)
for method in (SMOTE, ADASYN):
    x_res, y_res = method(random_state=5).fit_resample(x, y)
    print(" ", method.__name__, np.bincount(y_res), float(x_res.sum()), float((x_res**2).sum()))

print("splits")
i = np.arange(300)
groups = (i * i * 7 + i * 3) % 61
y = (i * 29 + i * i * 5) % 31 % 3


def folds(splitter, y, groups=None):
    out = np.zeros(len(y), int)
    for fold, (_, test) in enumerate(splitter.split(np.zeros((len(y), 1)), y, groups)):
        out[test] = fold
    return checksum(out[:, None])


print("  group", folds(GroupKFold(5), y, groups))
print("  stratified group", folds(StratifiedGroupKFold(5), y, groups))
print("  stratified", folds(StratifiedKFold(7), y))
print("  shuffled", folds(StratifiedKFold(7, shuffle=True, random_state=9), y))
train, test = train_test_split(i, test_size=0.23, stratify=y, random_state=4)
print("  hold-out", checksum(train[:, None]), checksum(test[:, None]), list(test[:6]))
