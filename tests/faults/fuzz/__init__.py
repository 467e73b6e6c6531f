"""Hostile and broken input, kind by kind: `python tests/faults/fuzz KIND --cases 10000`.

A case is plain data: what is broken how, and the command that then reads it. The commands are the
real ones, in a warm process (`Commands`); each 1 000th is given to a process of its own, too. Of
every case the same must hold: exit code 0, 1 or 2, where it is not 0 a message, no traceback,
nothing that moves a cursor, nothing created where nothing belongs, nothing executed.
"""

import math
from contextlib import suppress

from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz import command_lines, data_files, pages, run_files, study_files, wandb_answers  # noqa: F401
from fuzz.kind import FUZZED


def run_kind(name, cases, number, place, paribus, note=lambda _: None):
    """Try cases of a kind, until Ctrl-C; return how many, and what was wrong."""
    kind = FUZZED[name](place, paribus)
    wrong = []

    def one(case):
        found = kind.tried(case)
        kind.counted += kind.counts
        if found:
            wrong.extend(found)
            note(found)

    @seed(number)
    @settings(
        max_examples=math.ceil(cases * kind.draws),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.cases)
    def drawn(case):
        one(case)

    with suppress(KeyboardInterrupt):
        for case in kind.kept:
            one(case)
        drawn()
    return kind.counted, wrong
