"""Verdicts agree with formulas that were written apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from verdict_reference import scale, shrink, two_stage

from paribus.sweeps.stats.verdicts import Pairs, Standard, judge, spread_of, threshold, variances_of


@given(
    st.lists(st.floats(0, 1) | st.floats(0, 1e-3), max_size=25),
    st.integers(0, 20), st.integers(0, 10), st.sampled_from([0.05, 0.01, 0.02, 0.2]),
)  # fmt: skip
def test_threshold(p, missing, decided, q):
    planned = max(1, len(p) + decided + missing)
    assert threshold(np.array(p), planned, q, decided) == pytest.approx(
        two_stage(p, planned, q, decided), abs=1e-12
    )


def outcomes(rng, seeds, folds, m):
    """Settings' differences by example, -1, 0 or 1, of seeds that validate on folds."""
    units = np.array([seed % folds for seed in seeds])
    share = rng.uniform(0.02, 0.3)
    by_fold = rng.choice([-1, 0, 1], (folds, m), p=[share / 2, 1 - share, share / 2])
    flips = rng.random((len(seeds), m)) < rng.uniform(0.02, 0.2)
    noise = rng.choice([-1, 0, 1], (len(seeds), m))
    return np.where(flips, noise, by_fold[units]).astype(float), units


@pytest.mark.parametrize("folds", [1, 5])
@pytest.mark.parametrize("seeds", [(0, 1, 2), (0, 1, 2, 3, 4), (3, 7, 11, 8), tuple(range(11))])
@given(st.integers(0, 10**6), st.integers(4, 9))
def test_variance_and_threshold_of_a_study(folds, seeds, number, settings):
    rng, m = np.random.default_rng(number), 61
    drawn = [outcomes(rng, seeds, folds, m) for _ in range(settings)]
    pairs = [
        Pairs.of(d.mean(1), np.zeros(len(seeds)), d, folds=units.tolist() if folds > 1 else None)
        for d, units in drawn
    ]
    standard = Standard(0.005, settings, resolution=1 / m, pooled=True)
    spreads = [spread_of(one, standard) for one in pairs]
    want = [scale(d, folds > 1, units) for d, units in drawn]
    for one, (d, n, s2, c, vx) in zip(spreads, want, strict=True):
        mean = float(np.mean(d))
        assert (one.mean, one.units) == (pytest.approx(mean, abs=1e-12), n)
        assert one.variance == pytest.approx(s2, rel=1e-9)
        assert one.scale == pytest.approx(c, rel=1e-9)
        assert one.examples == pytest.approx(vx, rel=1e-9, abs=1e-15)
    v, df = shrink([w[2] for w in want], [w[3] for w in want], [w[1] - 1 for w in want])
    found = variances_of(spreads, standard)
    assert found.values == pytest.approx(v, rel=1e-9)
    assert found.df == pytest.approx(df, rel=1e-9)
    judged = judge(pairs, standard)
    limit = two_stage([one.headline.p for one in judged], settings)
    for one in judged:
        headline = one.headline
        assert headline.threshold == pytest.approx(limit, abs=1e-12)
        if one.verdict == "equivalent":
            assert headline.confidence == 0.9
            assert max(abs(headline.low), abs(headline.high)) < standard.margin
        else:
            assert (one.verdict in ("better", "worse")) == (headline.p <= limit)
            assert (headline.low * headline.high > 0) == (headline.p < limit)
