"""A map by umap-learn with a fixed seed: python3 umap_map.py POINTS [RUNS]

POINTS is an npy file (n, p). The first run compiles; with RUNS of 2 or more the time of the others
is given as well.
"""
import sys

import numpy as np
import umap
from sklearn.manifold import trustworthiness

from measure import Stopwatch, say

points = np.load(sys.argv[1])
runs = int(sys.argv[2]) if len(sys.argv) > 2 else 1
first = Stopwatch()
embedding = umap.UMAP(random_state=0).fit_transform(points)
first.stop()
later = Stopwatch()
for _ in range(runs - 1):
    umap.UMAP(random_state=0).fit_transform(points)
later.stop()
compiled = later.cpu_s / (runs - 1) if runs > 1 else None
trust = float(trustworthiness(points, embedding, n_neighbors=5))
say(f"UMAP in Python, {points.shape[0]} x {points.shape[1]}: {first.cpu_s:.2f} CPU s" +
    (f", {compiled:.2f} once compiled" if compiled else "") + f", trustworthiness {trust:.3f}", first,
    program="umap", rows=points.shape[0], columns=points.shape[1], trustworthiness=trust,
    compiled_cpu_s=compiled)
