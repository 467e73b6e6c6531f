"""Seeds added until it is decided: a design around another one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from paribus.sweeps.designs.design import Design, Values, Wanted
from paribus.sweeps.settings import BASELINE, Setting


class UntilDecided:
    """Gives more seeds to undecided settings, look by look, once the inner design is done.

    Args:
        design: Proposes settings with the seeds of the first look.
        looks: After how many seeds it is looked, the first one's included.
        undecided: Says of the settings that more seeds may decide after how many each was looked
            at. It follows from the records alone.
    """

    def __init__(
        self, design: Design, looks: Sequence[int], undecided: Callable[[], Mapping[str, int]]
    ) -> None:
        self._design, self._looks, self._undecided = design, looks, undecided
        self._settings: dict[str, Setting] = {}
        self.size = design.size

    def propose(self, values: Values) -> Wanted:
        wanted = self._design.propose(values)
        self._settings.update((setting.label, setting) for setting, _ in wanted)
        if wanted:
            return wanted
        after = {
            label: next((n for n in self._looks if n > reached), 0)
            for label, reached in self._undecided().items()
            if label in self._settings
        }
        after[BASELINE] = max(after.values(), default=0)
        rounds = ((label, range(after.get(label, 0))) for label in self._settings)
        missing = [
            (label, tuple(seed for seed in seeds if seed not in values.get(label, {})))
            for label, seeds in rounds
        ]
        return [(self._settings[label], seeds) for label, seeds in missing if seeds]

    def pruned(self, values: Values) -> Collection[str]:
        return self._design.pruned(values)
