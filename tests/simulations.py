"""Studies of which the truth is known, and how often verdicts on them are wrong.

The scenarios are those of the table that the procedure was chosen by: noise that is the same for
all settings, differs between them, has heavy tails, an outlier; accuracies on few examples; new
examples; seeds added until it is decided. Everything is drawn from the generator passed in.
"""

from dataclasses import dataclass

import numpy as np

from paribus.sweeps.stats.power import Look, judge_looks, looks
from paribus.sweeps.stats.verdicts import Pairs, Standard, judge

WRONG = ("better", "worse")


@dataclass(frozen=True)
class Scenario:
    """A kind of study. Settings share a baseline, so half of each difference is common to all.

    Attributes:
        name: What is special about it.
        spread: Standard deviation of the logarithm of the settings' noise.
        tails: ``normal``, ``t3`` or ``exponential``.
        outlier: Factor on the first setting's noise.
        quiet: Whether every other setting has a tenth of the noise.
        examples: Values are accuracies of so many examples; 0: continuous.
    """

    name: str
    spread: float = 0.0
    tails: str = "normal"
    outlier: float = 1.0
    quiet: bool = False
    examples: int = 0
    accuracy: float = 0.95

    def draw(self, rng, k, n, effect=0.0):
        """Differences of k settings over n seeds, the first one's mean being `effect` (in sd)."""
        if self.examples:
            runs = self.accuracy + 0.005 * rng.standard_normal((k + 1, n))
            values = np.round(runs * self.examples) / self.examples
            return values[1:] - values[0]
        scale = np.exp(self.spread * rng.standard_normal(k))
        scale[0] *= self.outlier
        if self.quiet:
            scale[1::2] *= 0.1
        noise = _noise(rng, self.tails, (k + 1, n))
        found = scale[:, None] * (noise[1:] - noise[0]) / np.sqrt(2)
        found[0] += effect * scale[0]
        return found

    @property
    def resolution(self):
        return 1 / self.examples if self.examples else 0.0


SCENARIOS = (
    Scenario("normal"),
    Scenario("het .3", spread=0.3),
    Scenario("het .75", spread=0.75),
    Scenario("outlier", outlier=10.0),
    Scenario("half at 0.1 sd", quiet=True),
    Scenario("t3, het .75", spread=0.75, tails="t3"),
    Scenario("accuracy .95, m=270", examples=270),
)


def _noise(rng, tails, shape):
    if tails == "t3":
        return rng.standard_t(3, shape) / np.sqrt(3)
    if tails == "exponential":
        return rng.exponential(size=shape)
    return rng.standard_normal(shape)


def _settings(differences):
    return [Pairs.of(row, np.zeros(len(row))) for row in differences]


def standard(k, *, pooled, resolution=0.0, margin=0.0):
    return Standard(margin, k, resolution=resolution, pooled=pooled)


def false_verdicts(rng, scenario, k, n, *, pooled, studies):
    """Share of studies in which a change that does nothing was called better or worse."""
    held = standard(k, pooled=pooled, resolution=scenario.resolution)
    wrong = 0
    for _ in range(studies):
        judged = judge(_settings(scenario.draw(rng, k, n)), held)
        wrong += any(one.verdict in WRONG for one in judged)
    return wrong / studies


def found_effects(rng, scenario, k, n, *, pooled, studies, effect):
    """Share of studies in which a setting that is better by `effect` sd was called so."""
    held = standard(k, pooled=pooled, resolution=scenario.resolution)
    found = 0
    for _ in range(studies):
        judged = judge(_settings(scenario.draw(rng, k, n, effect)), held)
        found += judged[0].verdict == "better"
    return found / studies


def coverage(rng, scenario, k, n, *, pooled, studies):
    """Share of 95 % intervals on this validation part that hold the true difference, 0."""
    held = standard(k, pooled=pooled, resolution=scenario.resolution)
    inside = 0
    for _ in range(studies):
        for one in judge(_settings(scenario.draw(rng, k, n)), held):
            inside += one.validation.low <= 0 <= one.validation.high
    return inside / (studies * k)


def false_equivalence(rng, scenario, k, n, *, pooled, studies, margin=4.0):
    """Share of settings called equivalent that differ by just the margin (in sd)."""
    wrong = 0
    for _ in range(studies):
        scale = 0.005 * np.sqrt(2) if scenario.examples else 1.0
        d = scenario.draw(rng, k, n) + margin * scale
        held = standard(k, pooled=pooled, resolution=scenario.resolution, margin=margin * scale)
        wrong += sum(one.verdict == "equivalent" for one in judge(_settings(d), held))
    return wrong / (studies * k)


def new_data(rng, n, m, *, studies, gaussian=False):
    """Coverage on new data and on this part of intervals, where both arms are equally good.

    Examples have a difficulty, seeds a skill, and each arm has examples that it finds easier. Over
    all examples there might be, both arms are the same.
    """
    both = np.zeros(2)
    for _ in range(studies):
        taste = rng.standard_normal((2, 1, m)) * (1.0 if gaussian else 0.7)
        noise = rng.standard_normal((2, n, m)) * (0.3 if gaussian else 0.7)
        skill = rng.standard_normal((2, n, 1)) * (0.05 if gaussian else 0.2)
        score = 2.0 * (not gaussian) + skill + taste + noise
        if not gaussian:
            score = (score > 1.5 * rng.standard_normal(m)).astype(float)
        d = score[0] - score[1]
        pairs = Pairs.of(score[0].mean(1), score[1].mean(1), d)
        (one,) = judge([pairs], Standard(0.0, 1, resolution=0 if gaussian else 1 / m))
        both += [
            one.new_data.low <= 0 <= one.new_data.high,
            one.validation.low <= 0 <= one.validation.high,
        ]
    return both / studies


@dataclass(frozen=True)
class Sequential:
    """What adding seeds came to.

    Attributes:
        wrong: Share of studies in which a setting without effect was called better or worse.
        found: Share of studies in which the first setting was called better.
        equivalent: Share of settings called equivalent.
        seeds: Mean number of seeds of a setting.
    """

    wrong: float
    found: float
    equivalent: float
    seeds: float


def until_decided(rng, scenario, k, *, pooled, studies, effect=0.0, margin=0.0, most=20):
    """Adds seeds at the looks until every setting is decided."""
    planned = looks(most)
    wrong = found = equivalent = seeds = 0.0
    held = standard(k, pooled=pooled, resolution=scenario.resolution, margin=margin)
    for _ in range(studies):
        d = scenario.draw(rng, k, most, effect)
        judged, reached = None, []
        for n in planned:
            reached.append(Look(n, _settings(d[:, :n])))
            judged = judge_looks(reached, planned, held)
            if all(one.decided for one in judged):
                break
        first = 1 if effect else 0
        wrong += any(one.verdict in WRONG for one in judged[first:])
        found += judged[0].verdict == "better"
        equivalent += sum(one.verdict == "equivalent" for one in judged) / k
        seeds += np.mean([one.look for one in judged])
    return Sequential(*(x / studies for x in (wrong, found, equivalent, seeds)))
