"""The formulas of verdicts, one study at a time: written apart, to test the product against."""

import math

import numpy as np
from scipy import special

ALPHA = 0.05


def two_stage(p, m=None, q=ALPHA, decided=0):
    """Threshold t: a setting is better/worse iff p <= t; its interval has confidence 1 - t.

    p: two-sided p of settings still open. m: planned settings (>= len(p) + decided; missing ones
    count as p = 1). decided: settings called better/worse at earlier looks.
    t = max(Benjamini-Hochberg's, Benjamini-Krieger-Yekutieli's), never above q.
    """
    p = np.sort(np.asarray(p, float))
    m = m or len(p) + decided

    def count(level, tests):  # rejections of the step-up at `level`, earlier ones included
        i = np.arange(1, len(p) + 1) + decided
        ok = np.flatnonzero(p <= level * i / tests)
        return decided + (ok[-1] + 1 if len(ok) else 0)

    bh = count(q, m)
    q1 = q / (1 + q)
    m0 = max(1, m - count(q1, m))
    bky = count(q1, m0)
    return min(q, max(max(bh, 1) * q / m, max(bky, 1) * q1 / m0))


def scale(D, rotated, units=None):
    """(d, units, s2, c, vx) of one setting. D: [runs, m], setting minus baseline by example.

    rotated: `units` is the fold of each run; D's columns are that fold's examples (runs of one fold
    share them). c: what s2 would be if examples flipped independently of each other.
    """
    D = np.asarray(D, float)
    m = D.shape[1]
    if rotated:
        folds = np.unique(units)
        F = np.stack([D[units == f].mean(0) for f in folds])  # a fold's seeds averaged first
        r = np.array([(units == f).sum() for f in folds])
        d, n = F.mean(1), len(folds)
        floor = 0.25 / m**2 * np.mean(1 / r)
        c = ((((F - d[:, None]) ** 2).sum(1)) + (2 / n / r)).sum() / (n * (m - 1)) / m
        return d, n, max(d.var(ddof=1), floor), c, 0.0
    d, n = D.mean(1), len(D)
    left = D - D.mean(0) - d[:, None] + D.mean()
    res = (left**2).sum()
    c = (res + 2) / ((n - 1) * (m - 1)) / m
    vx = max(0.0, D.mean(0).var(ddof=1) / m - res / ((n - 1) * (m - 1)) / (n * m))
    return d, n, max(d.var(ddof=1), 0.25 / m**2), c, vx


def itrigamma(v):
    if v > 1e7:
        return v**-0.5
    if v < 1e-6:
        return 1 / v
    x = 0.5 + 1 / v
    for _ in range(50):
        t = float(special.polygamma(1, x))
        s = t * (1 - t / v) / float(special.polygamma(2, x))
        x += s
        if -s / x < 1e-10:
            break
    return x


def shrink(s2, c, nu):
    """v, df: the half-pooled variance, of the ratios s2 / c; >= 5 settings with nu >= 2."""
    s2, c, nu = (np.asarray(a, float) for a in (s2, c, nu))
    v, df = s2.copy(), nu.copy()
    ok = nu >= 2
    if ok.sum() < 5:
        return v, df
    x, u = (s2 / c)[ok], nu[ok]
    e = np.log(x) - special.digamma(u / 2) + np.log(u / 2)
    V = e.var(ddof=1) - special.polygamma(1, u / 2).mean()
    d0 = 2 * itrigamma(V) if V > 0 else math.inf
    med = np.median(x * u / special.chdtri(u, 0.5))
    x0 = max(0.5, np.minimum(x, 4 * med).mean())
    w = np.minimum(d0, u)
    alike = x <= 4 * x0
    y = np.where(alike, (w * x0 + u * x) / (w + u), x)
    v[ok], df[ok] = c[ok] * np.maximum(0.5, y), np.where(alike, u + w, u)
    return v, df
