"""The cells of the confusion matrix that changed most."""

import numpy as np
from scipy.stats import ttest_1samp

from paribus.sweeps.stats.confusion import changed_cells


def test_the_largest_changes_first_with_their_intervals():
    baseline = np.tile(np.array([[10.0, 2.0], [3.0, 9.0]]), (4, 1, 1))
    level = baseline.copy()
    level[:, 0, 1] += [5, 6, 4, 5]
    level[:, 0, 0] -= [2, 1, 2, 3]
    first, second = changed_cells(level, baseline)
    assert (first.place, first.mean) == ((0, 1), 5)
    assert (second.place, second.mean) == ((0, 0), -2)
    theirs = ttest_1samp([5, 6, 4, 5], 0).confidence_interval()
    assert np.allclose((first.low, first.high), theirs, rtol=1e-9)


def test_nothing_of_what_did_not_change_and_three_at_most():
    baseline = np.zeros((3, 4, 2, 2))
    level = baseline.copy()
    assert changed_cells(level, baseline) == []
    level[:, :, 1, 0] = [4, 3, 2, 1]
    assert [cell.place for cell in changed_cells(level, baseline)] == [
        (0, 1, 0), (1, 1, 0), (2, 1, 0),
    ]  # fmt: skip
