"""Studies of which the truth is known, and how often verdicts on them are wrong.

`Values` are studies of plain numbers: noise that is the same for all settings, differs between
them, has heavy tails, an outlier; accuracies on few examples. `Latent` are studies of outcomes by
example, on one part or over folds: examples have a difficulty, seeds a skill, and each setting has
examples that it finds easier. Everything is drawn from the generator passed in.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from paribus.sweeps.stats.power import Look, judge_looks, looks
from paribus.sweeps.stats.verdicts import Pairs, Standard, judge

WRONG = ("better", "worse")
FOLDS = 5
# In standard deviations of the differences, of the settings that have one: half of them.
EFFECTS = (1.0, 2.0, 4.0, 8.0)


def _noise(rng, tails, shape):
    if tails == "t3":
        return rng.standard_t(3, shape) / np.sqrt(3)
    if tails == "exponential":
        return rng.exponential(size=shape) - 1
    return rng.standard_normal(shape)


def _effects(k, mixed):
    """The true effects of k settings, in standard deviations: none, or half of them."""
    found = np.zeros(k)
    if mixed:
        found[::2] = np.resize(EFFECTS, len(found[::2]))
    return found


@dataclass(frozen=True)
class Values:
    """A kind of study. Settings share a baseline, so half of each difference is common to all.

    Attributes:
        name: What is special about it.
        spread: Standard deviation of the logarithm of the settings' noise.
        tails: ``normal``, ``t3`` or ``exponential``.
        outlier: Factor on the first setting's noise.
        quiet: Whether every other setting has a tenth of the noise.
        examples: Values are accuracies of so many examples; 0: continuous.
        accuracy: Of the baseline, where they are.
    """

    name: str
    spread: float = 0.0
    tails: str = "normal"
    outlier: float = 1.0
    quiet: bool = False
    examples: int = 0
    accuracy: float = 0.95

    @property
    def resolution(self):
        return 1 / self.examples if self.examples else 0.0

    def draw(self, rng, k, n, effects):
        """Pairs of k settings over n seeds, and their true differences."""
        noise = _noise(rng, self.tails, (k + 1, n))
        if self.examples:
            truth = 0.005 * math.sqrt(2) * effects
            means = self.accuracy + np.concatenate([[0.0], truth])
            values = np.round((means[:, None] + 0.005 * noise) * self.examples) / self.examples
            found = values[1:] - values[0]
        else:
            scale = np.exp(self.spread * rng.standard_normal(k))
            scale[0] *= self.outlier
            if self.quiet:
                scale[1::2] *= 0.1
            truth = scale * effects
            found = scale[:, None] * (noise[1:] - noise[0]) / math.sqrt(2) + truth[:, None]
        return [Pairs.of(row, np.zeros(n)) for row in found], truth


VALUES = (
    Values("normal"),
    Values("het .3", spread=0.3),
    Values("het .75", spread=0.75),
    Values("outlier", outlier=10.0),
    Values("half at .1 sd", quiet=True),
    Values("t3, het .75", spread=0.75, tails="t3"),
    Values("t3", tails="t3"),
    Values("accuracy .95", examples=270),
    Values("accuracy .99", examples=270, accuracy=0.99),
)
# What every procedure by t distributions breaks on.
SKEWED = Values("exponential", tails="exponential")


@dataclass(frozen=True)
class Latent:
    """A kind of study of outcomes by example. An example is right where

        ability + seed's skill + setting's taste for it + noise > its difficulty,

    all but the ability normal; each setting's ability is such that the truth is exact.

    Attributes:
        name: What is special about it.
        accuracy: Of the baseline, over all examples and seeds.
        skill, taste, noise: Standard deviations; the difficulty's is 1.
        spread: Standard deviation of the logarithm of the settings' skill and noise.
        tails: Of skill.
        quiet: Whether every other setting has a tenth of the noise.
        wild: Factor on the skill of half the settings, or of one (`wild_ones`).
    """

    name: str
    accuracy: float = 0.95
    skill: float = 0.1
    taste: float = 0.2
    noise: float = 0.5
    spread: float = 0.0
    tails: str = "normal"
    quiet: bool = False
    wild: float = 1.0
    wild_ones: str = ""
    m: int = 270
    resolution: float = 1 / 270

    def draw(self, rng, k, n, effects, *, folds=1):
        """Pairs of k settings over n seeds, and their true differences."""
        factor = np.exp(self.spread * rng.standard_normal(k + 1))
        skill, noise = self.skill * factor, self.noise * factor
        skill[0], noise[0] = self.skill, self.noise
        if self.quiet:
            noise[1::2] *= 0.1
        if self.wild_ones:
            skill[slice(1, None, 2) if self.wild_ones == "half" else 1] *= self.wild
        taste = np.full(k + 1, self.taste)
        base = 0.02 if self.accuracy < 0.98 else 0.004  # an effect of one, in accuracy
        truth = np.concatenate([[0.0], base * effects * 0.25])
        # Skewed or heavy tails of a small part of the sum change its distribution very little.
        total = np.sqrt(1 + skill**2 + taste**2 + noise**2)
        ability = total * ndtri(np.clip(self.accuracy + truth, 0.01, 0.999))
        if self.tails == "exponential":
            rest = np.sqrt(1 + taste**2 + noise**2)
            ability = _ability(skill, rest, self.accuracy + truth)
        difficulty = rng.standard_normal((folds, self.m))
        tastes = taste[:, None, None] * rng.standard_normal((k + 1, folds, self.m))
        of_seed = np.arange(n) % folds
        right = np.empty((k + 1, n, self.m))
        skills = skill[:, None] * _noise(rng, self.tails, (k + 1, n))
        for seed, fold in enumerate(of_seed):
            score = ability[:, None] + skills[:, seed, None] + tastes[:, fold]
            score += noise[:, None] * rng.standard_normal((k + 1, self.m))
            right[:, seed] = score > difficulty[fold]
        means = right.mean(2)
        used = of_seed.tolist() if folds > 1 else None
        pairs = [
            Pairs.of(means[arm], means[0], right[arm] - right[0], folds=used)
            for arm in range(1, k + 1)
        ]
        return pairs, truth[1:]


def _ability(skill, rest, accuracy):
    """Where exponential skill plus normal noise (an exponentially modified Gaussian) is above 0."""
    low, high = np.full_like(skill, -20.0), np.full_like(skill, 20.0)
    for _ in range(60):
        middle = (low + high) / 2
        needed, ratio = skill - middle, rest / skill
        by_skill = ratio**2 / 2 - needed / skill + log_ndtr(needed / rest - ratio)
        is_low = ndtr(-needed / rest) + np.exp(by_skill) < accuracy
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return low


LATENT = (
    Latent("same noise"),
    Latent("het .75", spread=0.75),
    Latent("half flip a tenth", quiet=True),
    Latent("t3 seeds", tails="t3", skill=0.2),
    Latent("seeds dominate, het .75", skill=0.6, noise=0.2, spread=0.75),
    Latent("systematic examples", taste=0.6),
    Latent("accuracy .70", accuracy=0.70),
    Latent("accuracy .99", accuracy=0.99),
    Latent("half ×15, skewed", tails="exponential", wild=15.0, wild_ones="half"),
    Latent("one ×10, skewed", tails="exponential", wild=10.0, wild_ones="one"),
)


@dataclass(frozen=True)
class Rates:
    """How verdicts on many studies turned out; all are shares.

    Attributes:
        any_wrong: Studies in which a setting without effect was called better or worse.
        false: Of the settings called better or worse in a study those without effect, on average.
        found: Settings with an effect that were called better.
        uncovered: Of the settings called so those whose interval lacks the truth, on average.
        coverage: 95 % intervals of all settings that hold the truth.
        likely: As `false`, with those that are likely better or worse.
    """

    any_wrong: float
    false: float
    found: float
    uncovered: float
    coverage: float
    likely: float


def rates(rng, scenario, k, n, *, studies, mixed=False, pooled=True, strict=False, **how):
    """Judges studies without any effect, or with one in half of the settings."""
    standard = Standard(0.0, k, resolution=scenario.resolution, pooled=pooled, strict=strict)
    effects = _effects(k, mixed)
    any_wrong = false = found = uncovered = inside = likely = 0.0
    for _ in range(studies):
        pairs, truth = scenario.draw(rng, k, n, effects, **how)
        judged = judge(pairs, standard)
        wrong = right = unsure = missed = 0
        for one, true in zip(judged, truth, strict=True):
            answer = one.headline
            reach = answer.uncertainty.reach(0.05)
            inside += abs((answer.low + answer.high) / 2 - true) <= reach
            unsure += (answer.grade or "").startswith("likely") and true == 0
            if one.verdict in WRONG:
                missed += not answer.low <= true <= answer.high
                wrong += true == 0
                right += true != 0 and one.verdict == "better"
        graded = sum((one.headline.grade or "").startswith("likely") for one in judged)
        any_wrong += wrong > 0
        uncovered += missed / max(1, sum(one.verdict in WRONG for one in judged))
        false += wrong / max(1, wrong + right)
        likely += (wrong + unsure) / max(1, wrong + right + graded)
        found += right / max(1, np.count_nonzero(effects))
    return Rates(
        any_wrong / studies, false / studies, found / studies, uncovered / studies,
        inside / studies / k, likely / studies,
    )  # fmt: skip


def false_equivalence(rng, scenario, k, n, *, studies, pooled=True, **how):
    """Share of settings called equivalent that differ by just the margin."""
    wrong = 0
    for _ in range(studies):
        pairs, truth = scenario.draw(rng, k, n, np.full(k, 4.0), **how)
        for margin in set(truth.tolist()):
            held = Standard(margin, k, resolution=scenario.resolution, pooled=pooled)
            judged = zip(judge(pairs, held), truth, strict=True)
            wrong += sum(one.verdict == "equivalent" and true == margin for one, true in judged)
    return wrong / (studies * k)


@dataclass(frozen=True)
class Sequential:
    """What adding seeds came to.

    Attributes:
        wrong: Share of studies in which a setting without effect was called better or worse.
        false: Of the settings called better or worse in a study those without effect, on average.
        found: Share of settings with an effect that were called better.
        equivalent: Share of settings called equivalent.
        seeds: Mean number of seeds of a setting.
    """

    wrong: float
    false: float
    found: float
    equivalent: float
    seeds: float


def until_decided(
    rng, scenario, k, *, studies, pooled=True, mixed=False, margin=0.0, most=15, **how
):
    """Adds seeds at the looks until every setting is decided."""
    planned, effects = looks(most), _effects(k, mixed)
    wrong = false = found = equivalent = seeds = 0.0
    held = Standard(margin, k, resolution=scenario.resolution, pooled=pooled)
    for _ in range(studies):
        pairs, truth = scenario.draw(rng, k, most, effects, **how)
        reached, judged = [], []
        for n in planned:
            reached.append(Look(n, [_first(one, n) for one in pairs]))
            judged = judge_looks(reached, planned, held)
            if all(one.decided for one in judged):
                break
        null = [one.verdict in WRONG and true == 0 for one, true in zip(judged, truth, strict=True)]
        real = [o.verdict == "better" and true > 0 for o, true in zip(judged, truth, strict=True)]
        wrong += any(null)
        false += sum(null) / max(1, sum(null) + sum(real))
        found += sum(real) / max(1, np.count_nonzero(effects))
        equivalent += sum(one.verdict == "equivalent" for one in judged) / k
        seeds += np.mean([one.look for one in judged])
    return Sequential(*(x / studies for x in (wrong, false, found, equivalent, seeds)))


def _first(pairs, n):
    examples = None if pairs.examples is None else pairs.examples[:n]
    folds = None if pairs.folds is None else pairs.folds[:n].tolist()
    return Pairs.of(pairs.level[:n], pairs.baseline[:n], examples, folds=folds)
