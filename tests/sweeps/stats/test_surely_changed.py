"""Which cells of a confusion matrix surely changed."""

import numpy as np
import pytest
from scipy import stats

from paribus.sweeps.stats.confusion import surely_changed


def drawn(generator, seeds, classes, examples, right):
    """Confusion matrices `[n, C, C]` of a model that is right with a probability that varies."""
    chances = np.full((classes, classes), (1 - right) / (classes - 1))
    np.fill_diagonal(chances, right)
    noisy = np.exp(np.log(chances) + generator.normal(0, 0.3, (seeds, *chances.shape)))
    rows = noisy / noisy.sum(-1, keepdims=True)
    return np.array([[generator.multinomial(examples, row) for row in matrix] for matrix in rows])


@pytest.mark.parametrize(("classes", "seeds"), [(2, 3), (3, 5), (10, 5), (10, 10)])
def test_where_nothing_changed_a_cell_is_marked_in_one_study_of_twenty_at_most(classes, seeds):
    generator = np.random.default_rng(classes * 100 + seeds)
    marked = [
        len(surely_changed(
            drawn(generator, seeds, classes, 27, 0.85), drawn(generator, seeds, classes, 27, 0.85)
        )) > 0
        for _ in range(300)
    ]  # fmt: skip
    assert stats.binomtest(sum(marked), len(marked), 0.05, alternative="greater").pvalue > 0.01


def test_a_large_change_is_found_where_it_is():
    generator = np.random.default_rng(0)
    base = drawn(generator, 5, 3, 60, 0.9)
    level = base.copy()
    level[:, 1, 1] -= 20
    level[:, 1, 2] += 20
    level[:, 0, 0] += generator.integers(-1, 2, 5)  # and a little noise elsewhere
    assert surely_changed(level, base).tolist() == [[1, 1], [1, 2]]


def test_three_equal_differences_of_one_example_are_no_certainty():
    base = np.zeros((3, 2, 2), dtype=int)
    base[:, 0, 0], base[:, 1, 1] = 10, 10
    level = base.copy()
    level[:, 0, 0], level[:, 0, 1] = 9, 1
    assert len(surely_changed(level, base)) == 0


def test_what_is_the_same_in_every_seed_is_not_marked():
    same = np.full((4, 3, 3), 7)
    assert len(surely_changed(same, same)) == 0
    nothing = np.zeros((4, 3, 3))
    assert len(surely_changed(nothing, nothing)) == 0
