"""Steps of bench/survival_metrics.cc that scikit-learn has, its input, and the table of ratios.

survival_metrics.py draw TABLE.csv PATIENTS       the table that all programs read
survival_metrics.py run TABLE.csv [small] [resamples] [turns]
survival_metrics.py table OURS.json OTHER.json...
"""
import json
import sys
from statistics import median

import numpy as np

from measure import processor_seconds

COVARIATES = 10


def draw(path, patients):
    """Exponential times about a third of which end in the event; times in tenths, so that some tie."""
    random = np.random.default_rng(1)
    x = random.normal(size=(patients, COVARIATES))
    score = x @ np.linspace(0.5, 0.0, COVARIATES)
    death = -120 * np.log1p(-random.random(patients)) * np.exp(-score)
    lost = 120 * random.random(patients)
    time = np.ceil(10 * np.minimum(death, lost)) / 10
    event = (death <= lost).astype(int)
    label = (random.random(patients) < 1 / (1 + np.exp(1 - score))).astype(int)
    risk = score + random.normal(size=patients)
    names = ["time", "event", "label", "risk"] + [f"x{j}" for j in range(COVARIATES)]
    with open(path, "w") as file:
        file.write(",".join(names) + "\n")
        for i in range(patients):
            row = [repr(float(time[i])), str(event[i]), str(label[i]), repr(float(risk[i]))]
            file.write(",".join(row + [repr(float(v)) for v in x[i]]) + "\n")


def run(path, small=400, resamples=2000, turns=5):
    import sklearn
    from sklearn.metrics import roc_auc_score

    data = np.loadtxt(path, delimiter=",", skiprows=1)
    label, risk = data[:, 2].astype(int), data[:, 3]

    def bootstrap():
        random = np.random.default_rng(0)
        for _ in range(resamples):
            rows = random.integers(0, small, small)
            roc_auc_score(label[:small][rows], risk[:small][rows])
        return roc_auc_score(label[:small], risk[:small])

    steps = {"auroc": lambda: roc_auc_score(label, risk), "auroc_bootstrap": bootstrap}
    said = {}
    for name, work in steps.items():
        seconds = []
        for _ in range(turns):
            before = processor_seconds()
            value = work()
            seconds.append(processor_seconds() - before)
        said[name] = {"cpu_s": median(seconds), "value": float(value)}
    print(json.dumps({"who": f"scikit-learn {sklearn.__version__}", "patients": len(label),
                      "steps": said}))


def table(paths):
    documents = []
    for path in paths:
        with open(path) as file:
            documents.append(json.load(file))
    ours, *others = documents
    print("| step | against | processor time, theirs over ours | values |")
    print("| --- | --- | --- | --- |")
    for name, mine in ours["steps"].items():
        for other in others:
            theirs = other["steps"].get(name)
            if theirs is None:
                continue
            apart = abs(theirs["value"] - mine["value"])
            same = "equal to 1e-9" if apart < 1e-9 else f"DIFFER by {apart:.2g}"
            print(f"| {name} | {other['who']} | {theirs['cpu_s'] / mine['cpu_s']:.3g} | {same} |")
    for said in [ours, *others]:
        print(f"# {said['who']}: " + ", ".join(
            f"{name} {step['cpu_s']:.4f} s" for name, step in said["steps"].items()))


if sys.argv[1] == "draw":
    draw(sys.argv[2], int(sys.argv[3]))
elif sys.argv[1] == "run":
    run(sys.argv[2], *map(int, sys.argv[3:]))
else:
    table(sys.argv[2:])
