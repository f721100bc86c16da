"""Oversampling by imbalanced-learn: python3 resample.py TABLE {smote,adasyn}

TABLE is an npy file (n, p + 1), the label in its last column.
"""
import sys

from imblearn.over_sampling import ADASYN, SMOTE

from measure import Stopwatch, read_labelled, say

path, method = sys.argv[1:]
x, y = read_labelled(path)
watch = Stopwatch()
x_after, y_after = {"smote": SMOTE, "adasyn": ADASYN}[method](random_state=0).fit_resample(x, y)
watch.stop()
say(f"{method} in Python, {x.shape[0]} x {x.shape[1]}: {watch.cpu_s:.3f} CPU s, {len(x_after)} rows "
    "after", watch, program="resample", method=method, rows=x.shape[0], columns=x.shape[1],
    rows_after=len(x_after), sum=float(x_after.sum()))
