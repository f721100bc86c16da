#!/usr/bin/env python3
"""How often 95 % intervals of the AUROC hold the true value, in small cohorts.

    auroc_coverage.py [draws=20000] [bootstrap_draws=1000] [repeats=1000] [seed=1]

Scores are drawn n1 + n0 times over from two distributions whose AUROC is known, and each interval is asked
whether it holds it:

    normal      both classes normal with standard deviation 1
    unequal     normal, positives with standard deviation 2
    ties        the normal scores cut into five levels of equal share (both classes pooled)

    delong      A -+ z se, DeLong's variance, cut to [0, 1] (pROC's default)
    welch       A -+ t se, t of Brunner and Munzel's degrees of freedom, cut
    logit       logit A -+ z se / (A (1 - A))
    logit-t     the same with t
    wald-hm     A -+ z se, Hanley and McNeil's variance of A, cut
    newcombe    method 5: all theta with |A - theta| <= z sqrt(V(theta)), Hanley and McNeil's variance with
                (n1 + n0) / 2 - 1 in the place of n1 - 1 and n0 - 1
    bca         bias-corrected and accelerated bootstrap within the classes; fewer draws, for it is slow

A row has, for each, the share of intervals that hold the truth, the share below and above it, the mean width, and
how often there was no interval (a variance of 0). An honest one is right 95 times in 100; the standard error of a
share of 20,000 is 0.15 %. A cohort for which a method has no interval is left out of that method's shares.

delong and newcombe are stats::auroc_delong and stats::auroc of the library; a test compares them.
"""

import sys

import numpy as np
from scipy import optimize, stats

CONFIDENCE = 0.95
Z = stats.norm.ppf(0.5 + CONFIDENCE / 2)
LEVELS = 5


def pairs(positive, negative):
    """(draws, n1, n0) of 1, 1/2 and 0."""
    a, b = positive[:, :, None], negative[:, None, :]
    return (a > b) + 0.5 * (a == b)


def clipped(low, high):
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def delong_parts(won):
    n1, n0 = won.shape[1:]
    s10, s01 = won.mean(2).var(1, ddof=1) / n1, won.mean(1).var(1, ddof=1) / n0
    variance = s10 + s01
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = variance**2 / (s10**2 / (n1 - 1) + s01**2 / (n0 - 1))
    variance[variance < 1e-20] = np.nan
    return won.mean((1, 2)), np.sqrt(variance), stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)


def on_logit(a, se, quantile):
    with np.errstate(invalid="ignore", divide="ignore"):
        centre, half = np.log(a / (1 - a)), quantile * se / (a * (1 - a))
    inside = (a > 0) & (a < 1)
    return [np.where(inside, 1 / (1 + np.exp(-(centre + side * half))), np.nan) for side in (-1, 1)]


def hanley_mcneil(theta, n1, n0, more1, more0):
    return theta * (1 - theta) / (n1 * n0) * (1 + more1 * (1 - theta) / (2 - theta) + more0 * theta / (1 + theta))


def newcombe(a, n1, n0):
    more = (n1 + n0) / 2 - 1
    limits = {}
    for value in np.unique(a):
        def outside(theta):
            return (value - theta)**2 - Z**2 * hanley_mcneil(theta, n1, n0, more, more)
        # At 0 and 1 the variance is 0 too: the other root is the limit.
        limits[value] = (0.0 if value == 0 else optimize.brentq(outside, 0, min(value, 1 - 1e-12), xtol=1e-14),
                         1.0 if value == 1 else optimize.brentq(outside, max(value, 1e-12), 1, xtol=1e-14))
    found = np.array([limits[value] for value in a])
    return found[:, 0], found[:, 1]


def bca(won, repeats, random):
    low, high = np.full(len(won), np.nan), np.full(len(won), np.nan)
    n1, n0 = won.shape[1:]
    for i, one in enumerate(won):
        a = one.mean()
        weight1 = random.multinomial(n1, np.full(n1, 1 / n1), repeats) / n1
        weight0 = random.multinomial(n0, np.full(n0, 1 / n0), repeats) / n0
        drawn = np.sort(np.einsum("ri,ij,rj->r", weight1, one, weight0, optimize=True))
        if drawn[0] == drawn[-1]:
            continue
        bias = stats.norm.ppf(np.clip(((drawn < a).sum() + 0.5 * (drawn == a).sum()) / repeats, 1 / repeats,
                                      1 - 1 / repeats))
        left = np.concatenate([(one.sum() - one.sum(1)) / ((n1 - 1) * n0),
                               (one.sum() - one.sum(0)) / (n1 * (n0 - 1))])
        gap = left.mean() - left
        spread = (gap**2).sum()
        speed = (gap**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
        ends = [stats.norm.cdf(bias + (bias + z) / (1 - speed * (bias + z))) for z in (-Z, Z)]
        low[i], high[i] = np.quantile(drawn, ends)
    return low, high


def scores(kind, auroc, n1, n0, draws, random):
    spread = 2.0 if kind == "unequal" else 1.0
    shift = stats.norm.ppf(auroc) * np.sqrt(1 + spread**2)
    positive, negative = random.normal(shift, spread, (draws, n1)), random.normal(0, 1, (draws, n0))
    if kind != "ties":
        return positive, negative, auroc
    def pooled(x):
        return (stats.norm.cdf(x, shift) + stats.norm.cdf(x)) / 2
    cuts = [optimize.brentq(lambda x, q=q: pooled(x) - q, -10, 10) for q in np.arange(1, LEVELS) / LEVELS]
    share1 = np.diff(np.concatenate([[0], stats.norm.cdf(cuts, shift), [1]]))
    share0 = np.diff(np.concatenate([[0], stats.norm.cdf(cuts), [1]]))
    truth = sum(share1[i] * (share0[:i].sum() + share0[i] / 2) for i in range(LEVELS))
    return np.digitize(positive, cuts), np.digitize(negative, cuts), truth


def main():
    settings = {"draws": 20000, "bootstrap_draws": 1000, "repeats": 1000, "seed": 1}
    for word in sys.argv[1:]:
        name, _, value = word.partition("=")
        if name not in settings:
            sys.exit(f"argument '{word}', expected name=value with one of: {', '.join(settings)}")
        settings[name] = int(value)
    print("scores,n1,n0,auroc,method,coverage,truth_below,truth_above,width,none")
    for kind in ("normal", "unequal", "ties"):
        for n1, n0 in ((5, 5), (10, 10), (10, 30), (30, 30)):
            for auroc in (0.5, 0.7, 0.9):
                random = np.random.default_rng([settings["seed"], n1, n0, round(auroc * 10), len(kind)])
                positive, negative, truth = scores(kind, auroc, n1, n0, settings["draws"], random)
                won = pairs(positive, negative)
                a, se, t = delong_parts(won)
                wald = Z * np.sqrt(hanley_mcneil(a, n1, n0, n1 - 1, n0 - 1))
                wald[(a == 0) | (a == 1)] = np.nan
                methods = {"delong": clipped(a - Z * se, a + Z * se),
                           "welch": clipped(a - t * se, a + t * se),
                           "logit": on_logit(a, se, Z),
                           "logit-t": on_logit(a, se, t),
                           "wald-hm": clipped(a - wald, a + wald),
                           "newcombe": newcombe(a, n1, n0)}
                if settings["bootstrap_draws"] > 0:
                    methods["bca"] = bca(won[:settings["bootstrap_draws"]], settings["repeats"], random)
                for name, (low, high) in methods.items():
                    there = ~np.isnan(low)
                    low, high = low[there], high[there]
                    print(f"{kind},{n1},{n0},{auroc},{name},{np.mean((low <= truth) & (truth <= high)):.4f},"
                          f"{np.mean(truth < low):.4f},{np.mean(truth > high):.4f},{np.mean(high - low):.3f},"
                          f"{1 - there.mean():.4f}", flush=True)


if __name__ == "__main__":
    main()
