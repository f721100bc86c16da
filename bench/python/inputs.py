"""Writes the tables that both sides read: python3 inputs.py FOLDER [CLINICAL_CSV]

clinical.npy  features and label. From CLINICAL_CSV in the layout of MMIST-ccRCC if given (the rows
              marked train; median for a missing number, columns scaled to [0, 1]; label 1 = dead
              within 12 months), else drawn: 500 x 20, one row in eight positive
wide.npy      4,000 x 512 and label, one in five positive
points.npy    the digits of scikit-learn, 1,797 x 64
"""
import sys

import numpy as np
from sklearn.datasets import load_digits

folder = sys.argv[1]
rng = np.random.RandomState(1)


def draw(n, p, one_in):
    y = (np.arange(n) % one_in == 0).astype(float)
    x = rng.standard_normal((n, p))
    x[:, ::4] += 0.5 * y[:, None]
    return np.column_stack([x, y])


def clinical(path):
    import pandas as pd
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MinMaxScaler
    table = pd.read_csv(path)
    table = table[table["Split"] == "train"].dropna(subset=["vital_status_12"])
    y = 1.0 - table["vital_status_12"].to_numpy(float)
    x = table.drop(columns=["case_id", "Split", "vital_status_12"]).replace(-1, np.nan)
    x = MinMaxScaler().fit_transform(SimpleImputer(strategy="median").fit_transform(x))
    return np.column_stack([x, y])


table = clinical(sys.argv[2]) if len(sys.argv) > 2 else draw(500, 20, 8)
np.save(f"{folder}/clinical.npy", table.astype(np.float32))
np.save(f"{folder}/wide.npy", draw(4000, 512, 5).astype(np.float32))
np.save(f"{folder}/points.npy", load_digits().data.astype(np.float32))
