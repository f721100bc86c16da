"""Values pasted into src/med3d/wsi/heatmap_test.cc.

/usr/bin/python3 heatmap.py   (written with scipy 1.10.1, numpy 1.24.2)
"""
import numpy as np
from scipy.stats import percentileofscore, rankdata

i = np.arange(12)
scores = (i * 37 + i * i * 5) % 23 // 2 / 8.0
reference = (i * 29 + 3) % 31 // 3 / 8.0
print("scores", scores.tolist())
print("ranks", (rankdata(scores, "average") / len(scores) * 100).tolist())
print("reference", reference.tolist())
print("among", [float(percentileofscore(reference, s)) for s in scores])
for k, seed in ((3, 1), (4, 7)):
    np.random.seed(seed)
    print("choice", k, seed, np.random.choice(np.arange(20, 30), k, replace=False).tolist())
