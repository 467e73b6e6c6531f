"""How training stands, as a table and in lines: from the driver's steps alone, with no terminal."""

import os
import re
import sys
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from screen import Screen

from paribus.core.records.record import Best, RunRecord
from paribus.core.run_spec import RunSpec, WorkerEvent
from paribus.sweeps.execution.driver import RunEvent
from paribus.sweeps.progress.live_table import Table, choose
from paribus.sweeps.progress.progress import PlainLines, watched
from paribus.sweeps.progress.progress_state import ProgressState

LABELS = ("baseline", "optimizer.lr=0.1", "optimizer.lr=1.0")


@dataclass
class Plan:
    """Settings and seeds, all of them runs of their own, with what later rounds may bring."""

    labels: tuple[str, ...] = LABELS
    seeds: tuple[int, ...] = (0, 1)
    epochs: int = 4
    direction: str = "maximize"
    name: str | None = "study"
    later: int = 0
    runs: dict = field(init=False)

    def __post_init__(self):
        self.runs = {(label, seed): self.run(label, seed) for label in self.labels
                     for seed in self.seeds}  # fmt: skip

    def run(self, label, seed):
        select = {"select": {"metric": "val/accuracy", "direction": self.direction}}
        return RunSpec(
            f"{label}-s{seed}", "one", Path("one.py"), {}, select, seed, "loop", {},
            {"epochs": self.epochs}, {},
        )  # fmt: skip

    def most_runs(self):
        return len({run.id for run in self.runs.values()}) + self.later

    def epoch(self, label, seed, epoch, value):
        line = {"epoch": epoch, "metrics": {"val/accuracy": value}}
        return RunEvent(self.runs[label, seed], WorkerEvent("", self.epochs, line))

    def end(self, label, seed, value, *, reused=False):
        metrics = {"val/accuracy": value}
        best = None if value is None else Best.model_construct(epoch=1, metrics=metrics)
        status, reason = ("failed", "non-finite") if value is None else ("complete", None)
        record = RunRecord.model_construct(status=status, reason=reason, best=best)
        progress = None if reused else WorkerEvent("", self.epochs, None, status)
        return RunEvent(self.runs[label, seed], progress, record, reused)

    def stop(self, label, seed):
        return RunEvent(
            self.runs[label, seed], WorkerEvent("", self.epochs, None, "attempt", "killed")
        )


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def setting(standing, label):
    return next(s for s in standing.settings() if s.label == label)


def drawn(standing, width=80, height=24, clock=None):
    return [line.plain for line in Table(standing, clock or Clock()).lines(width, height)]


def test_a_setting_s_value_is_the_mean_of_its_best_epochs():
    plan = Plan()
    standing = ProgressState(plan)
    assert setting(standing, "baseline").value is None
    for seed, values in ((0, (0.5, 0.9, 0.7)), (1, (0.3, 0.2, 0.1))):
        for epoch, value in enumerate(values, 1):
            standing.take(plan.epoch("baseline", seed, epoch, value))
    found = setting(standing, "baseline")
    assert (found.value, found.of, found.state) == (pytest.approx(0.6), 2, "training")
    assert (found.epoch, found.done, found.runs) == ((3, 4), 0, 2)


def test_what_is_half_trained_does_not_pull_down_what_is_done():
    plan = Plan()
    standing = ProgressState(plan)
    standing.take(plan.end("baseline", 0, 0.9))
    standing.take(plan.epoch("baseline", 1, 1, 0.1))
    found = setting(standing, "baseline")
    assert (found.value, found.of, found.done, found.state) == (0.9, 1, 1, "training")


@pytest.mark.parametrize(("direction", "best"), [("maximize", 0.8), ("minimize", 0.2)])
def test_the_best_follows_the_direction(direction, best):
    plan = Plan(direction=direction)
    standing = ProgressState(plan)
    assert standing.best(standing.settings()) is None
    for label, value in zip(LABELS, (0.2, 0.8, float("nan")), strict=True):
        standing.take(plan.epoch(label, 0, 1, value))
    assert standing.best(standing.settings()).value == best


def test_states_of_settings_and_counts_of_runs():
    plan = Plan(labels=(*LABELS, "a=1", "a=2"))
    standing = ProgressState(plan)
    for seed in plan.seeds:
        standing.take(plan.end("baseline", seed, 0.5))
    standing.take(plan.end("optimizer.lr=0.1", 0, None))
    standing.take(plan.stop("optimizer.lr=1.0", 0))
    standing.take(plan.epoch("a=1", 0, 1, 0.5))
    states = [s.state for s in standing.settings()]
    assert states == ["done", "failed", "stopped", "training", "waiting"]
    assert (standing.done, standing.total, standing.states["failed"]) == (3, 10, 1)
    assert standing.share == pytest.approx((4 * 4 + 1) / 40)


def test_the_last_thing_that_went_wrong_is_known_by_setting_and_seed():
    plan = Plan()
    standing = ProgressState(plan)
    standing.take(plan.end("optimizer.lr=0.1", 1, None))
    assert standing.warning == "optimizer.lr=0.1, seed 1 failed: non-finite"
    standing.take(plan.stop("baseline", 0))
    assert standing.warning == "baseline, seed 0 stopped: killed"
    standing.take(RunEvent(plan.runs["baseline", 0], message="the disk is nearly full"))
    standing.take(plan.end("baseline", 1, 0.5))
    assert drawn(standing)[-1] == "the disk is nearly full"


def test_the_time_left_is_that_of_the_pace_of_this_command():
    plan, clock = Plan(epochs=10), Clock()  # 60 epochs
    standing = ProgressState(plan, clock)
    for seed in plan.seeds:
        standing.take(plan.end("baseline", seed, 0.5, reused=True))  # 20 that cost nothing
    clock.now = 5.0
    assert standing.seconds_left() is None
    standing.take(plan.epoch("optimizer.lr=0.1", 0, 8, 0.5))  # the eighth goes on after the seventh
    standing.take(plan.epoch("optimizer.lr=0.1", 0, 9, 0.5))
    clock.now = 20.0
    assert standing.seconds_left() == pytest.approx(31 * 20 / 2)
    assert standing.share == pytest.approx(29 / 60)


def test_a_run_that_ends_early_needs_no_more_epochs():
    plan = Plan(labels=("baseline",), seeds=(0,))
    standing = ProgressState(plan)
    standing.take(plan.epoch("baseline", 0, 1, 0.5))
    standing.take(plan.end("baseline", 0, 0.5))
    assert (standing.share, standing.seconds_left()) == (1.0, None)


def test_a_run_that_two_settings_share_counts_once():
    plan = Plan()
    plan.runs["a=1", 0] = plan.runs["baseline", 0]
    standing = ProgressState(plan)
    standing.take(plan.end("baseline", 0, 0.5))
    assert (standing.done, standing.total) == (1, 6)
    assert [setting(standing, label).done for label in ("baseline", "a=1")] == [1, 1]


def test_later_rounds_bring_runs_and_settings():
    plan = Plan(later=2)
    standing = ProgressState(plan)
    assert standing.total == 8
    for place in list(plan.runs):
        standing.take(plan.end(*place, 0.5))
    assert standing.share == pytest.approx(6 / 8)
    plan.later = 0
    for place in (("optimizer.lr=2.0", 0), ("baseline", 2)):
        plan.runs[place] = plan.run(*place)
    standing.take(plan.epoch("optimizer.lr=2.0", 0, 1, 0.9))
    assert standing.total == 8
    assert setting(standing, "baseline").state == "waiting"
    assert setting(standing, "optimizer.lr=2.0").state == "training"


def test_where_only_a_function_knows_its_epochs_runs_are_counted():
    plan = Plan(epochs=0)
    standing = ProgressState(plan)
    standing.take(plan.epoch("baseline", 0, 7, 0.5))
    assert standing.share == 0
    assert " training 7" in drawn(standing)[3]
    standing.take(plan.end("baseline", 0, 0.5))
    assert standing.share == pytest.approx(1 / 6)


def test_the_table():
    plan, clock = Plan(), Clock()
    standing = ProgressState(plan, clock)
    assert drawn(standing)[1] == "no epoch is done yet"
    clock.now = 6.0
    for seed in plan.seeds:
        standing.take(plan.end("baseline", seed, 0.5))
    standing.take(plan.epoch("optimizer.lr=0.1", 0, 4, 0.625))
    standing.take(plan.end("optimizer.lr=1.0", 1, None))
    assert drawn(standing) == [
        "study  3/6 runs ━━━━━━━━━━━━━━━━━━━━━──────────  67 %  about 4 s left  1 failed",
        "best val/accuracy so far 0.6250: optimizer.lr=0.1 (one run)",
        " setting           runs  mean val/accuracy so far  state",
        " baseline           2/2                    0.5000  done",
        " optimizer.lr=0.1   0/2                    0.6250  training 4/4",
        " optimizer.lr=1.0   1/2                         –  failed",
        "optimizer.lr=1.0, seed 1 failed: non-finite",
    ]
    assert drawn(standing, width=40)[:6] == [
        "3/6 runs ━━━━━━───  67 %  4 s  1 failed",
        "best 0.6250: optimizer.lr=0.1 (one run)",
        " setting          runs     mean state",
        " baseline          2/2   0.5000 done",
        " optimizer.lr=0.1  0/2   0.6250 4/4",
        " optimizer.lr=1.0  1/2        – failed",
    ]


def test_without_a_study_it_is_one_line():
    plan = Plan(labels=("baseline",), seeds=(0,), name=None)
    standing = ProgressState(plan)
    standing.take(plan.epoch("baseline", 0, 1, 0.5))
    (line,) = drawn(standing)
    assert line.startswith("0/1 runs ")
    assert " 25 %  best val/accuracy 0.5000  about 1 s left" in line


def test_more_settings_than_rows():
    plan = Plan(labels=("baseline", *(f"a={n}" for n in range(299))), seeds=(0,))
    standing = ProgressState(plan)
    for n in range(100):
        standing.take(plan.end(f"a={n}", 0, n / 1000))
    standing.take(plan.end("a=100", 0, None))
    for n in (200, 201):
        standing.take(plan.epoch(f"a={n}", 0, 1, 0.001))
    lines = drawn(standing)
    assert len(lines) == 22
    assert lines[-2] == " and 283 more: 87 done, 196 waiting"
    rows = [line.split()[0] for line in lines[3:-2]]
    assert {"baseline", "a=200", "a=201", "a=100", *(f"a={n}" for n in range(88, 100))} < set(rows)
    assert rows == sorted(rows, key=list(plan.labels).index)


def test_the_rows_are_the_same_ones_for_a_while():
    plan, clock = Plan(labels=("baseline", *(f"a={n}" for n in range(99))), seeds=(0,)), Clock()
    standing = ProgressState(plan)
    table = Table(standing, clock)
    before = [line.plain.split()[0] for line in table.lines(80, 12)]
    standing.take(plan.epoch("a=50", 0, 1, 0.9))
    assert [line.plain.split()[0] for line in table.lines(80, 12)][2:] == before[2:]
    clock.now = 10.0
    assert "a=50" in [line.plain.split()[0] for line in table.lines(80, 12)][2:]
    assert choose(standing, standing.settings(), 3) == ["baseline", "a=50", "a=0"]


FLAG, FAMILY = "\U0001f1e9\U0001f1ea", "\U0001f469\u200d\U0001f469\u200d\U0001f467"
HOSTILE = st.one_of(
    st.text(min_size=1, max_size=200),
    st.sampled_from(("[red]x[/red]", "\x1b[2J\x1b[31m", "a\nb\r\tc", "\u202eabc", "\ud800")),
    st.sampled_from((FLAG * 40, FAMILY * 20, "e\u0301" * 90, "\u6f22" * 70)),
)


@given(
    labels=st.lists(HOSTILE, min_size=1, max_size=40, unique=True),
    seeds=st.integers(1, 3),
    epochs=st.integers(0, 3000),
    events=st.lists(
        st.tuples(st.integers(0, 1000), st.sampled_from("eeefds"), st.floats()), max_size=60
    ),
    width=st.integers(1, 250),
    height=st.integers(1, 60),
    name=st.one_of(st.none(), HOSTILE),
)
def test_it_fits_into_any_terminal_whatever_it_shows(
    labels, seeds, epochs, events, width, height, name
):
    plan = Plan(tuple(labels), tuple(range(seeds)), epochs, name=name)
    standing, places = ProgressState(plan, Clock()), list(plan.runs)
    for number, what, value in events:
        label, seed = places[number % len(places)]
        if what == "e":
            standing.take(plan.epoch(label, seed, number % (epochs + 1) + 1, value))
        elif what == "s":
            standing.take(plan.stop(label, seed))
        else:
            standing.take(plan.end(label, seed, value if what == "d" else None))
    lines = drawn(standing, width, height)
    assert 1 <= len(lines) <= max(1, height - 2)
    for line in lines:
        assert cell_len(line) < max(2, width)
        assert line.isprintable()
    told = PlainLines(standing).due() or ""
    assert told.isprintable()


def lines_of(plan, steps, clock=None):
    standing = ProgressState(plan, clock or Clock())
    plain = PlainLines(standing)
    told = []
    for step in steps:
        standing.take(step)
        told += [plain.due()]
    return [line for line in told if line]


def test_a_line_for_each_tenth_that_is_trained():
    plan = Plan(labels=("baseline", "a=1"), seeds=(0,), epochs=100)
    epochs = [plan.epoch(label, 0, e, e / 1000) for label in plan.labels for e in range(1, 101)]
    steps = [*epochs[:100], plan.end("baseline", 0, 0.1), *epochs[100:], plan.end("a=1", 0, 0.1)]
    told = lines_of(plan, steps)
    assert len(told) == 9
    assert told[0].startswith("0/2 runs (10 % of all epochs), best val/accuracy 0.0200 (baseline,")
    assert told[-1].startswith("1/2 runs (90 % of all epochs), best val/accuracy 0.1000 (baseline,")


def test_rounds_that_nobody_foresaw_get_a_line_each():
    plan = Plan(labels=("baseline",), seeds=(0,), epochs=100)

    def steps():
        for seed in range(3):
            plan.runs["baseline", seed] = plan.run("baseline", seed)
            yield from (plan.epoch("baseline", seed, e, 0.5) for e in range(1, 101))
            yield plan.end("baseline", seed, 0.5)

    told = lines_of(plan, steps())
    first = [f"0/1 runs ({n}0 %" for n in range(1, 10)]
    beginnings = [*first, "1/2 runs (7", "2/3 runs (8"]
    for line, beginning in zip(told, beginnings, strict=True):
        assert line.startswith(beginning)


def test_lines_tell_failures_and_the_time_left():
    plan, clock = Plan(epochs=10), Clock()
    clock_steps = [plan.end("baseline", 0, 0.5), plan.end("baseline", 1, None)]
    standing = ProgressState(plan, clock)
    plain = PlainLines(standing)
    clock.now = 10.0
    for step in clock_steps:
        standing.take(step)
    assert plain.due() == (
        "2/6 runs (33 % of all epochs), best val/accuracy 0.5000 (baseline, one run), 1 failed, "
        "about 20 s left"
    )


def test_what_was_there_before_is_told_in_no_line():
    plan = Plan(seeds=(0,))
    reused = [plan.end(label, 0, 0.5, reused=True) for label in LABELS]
    assert lines_of(plan, reused) == []
    told = lines_of(plan, [*reused[:2], plan.epoch(LABELS[2], 0, 1, 0.6)])
    assert len(told) == 1
    assert told[0].startswith("2/3 runs (75 % of all epochs)")


@pytest.fixture
def screen(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "80"), ("LINES", "24")):
        monkeypatch.setenv(name, value)
    screen = Screen(80, 24)
    yield screen
    screen.close()


@contextmanager
def shown(plan, screen, *, quiet=False):
    """Gives what shows steps on a terminal that is this process's standard error."""
    with (
        os.fdopen(os.dup(screen.end), "w") as end,
        redirect_stderr(end),
        watched(plan, say, quiet=quiet, lines=True) as show,
    ):
        yield show


def say(text):
    print(text, file=sys.stderr)


def test_names_of_a_person_s_leave_the_terminal_as_it_is(screen):
    plan = Plan(
        ("baseline", "[red]x[/red]", "\x1b[2J\x1b[31m", "a\nb", FLAG * 30, FAMILY * 9, "z=1")
    )
    with shown(plan, screen) as show:
        say("a line that was there before")
        for number, label in enumerate(plan.labels):
            show(plan.epoch(label, 0, 1, number / 100))
            say(f"line [bold]{number}[/bold]")  # each draws the table anew
        lines = screen.until(lambda lines: lines[-1].startswith(" z=1 "))
        assert lines[0] == "a line that was there before"
        assert lines[1:8] == [f"line [bold]{n}[/bold]" for n in range(7)]
        assert len(lines) == 8 + 3 + 7
        rows = lines[-7:]
        assert rows[1].startswith(" [red]x[/red]  ")
        assert rows[2].startswith(" \N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}[31m  ")
        assert rows[3].startswith(" a\N{REPLACEMENT CHARACTER}b  ")
    screen.rest()
    assert screen.lines == lines[:8]


def colours(sent):
    """Numbers of the colours that were asked for."""
    codes = re.findall(rb"\x1b\[([\d;]+)m", sent)
    return {int(n) for code in codes for n in code.split(b";") if int(n) not in (0, 1, 2)}


@pytest.mark.parametrize("colour", [True, False])
def test_no_colour_where_none_is_wanted(screen, colour, monkeypatch):
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    plan = Plan()
    with shown(plan, screen) as show:
        show(plan.end("baseline", 0, None))
        screen.until(lambda lines: lines[-1].endswith("failed: non-finite"))
    screen.rest()
    assert bool(colours(screen.sent)) == colour


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(screen, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    plan = Plan()
    with shown(plan, screen) as show:
        show(plan.end("baseline", 0, 0.5))
    screen.rest()
    assert screen.lines[0].startswith("1/6 runs (17 % of all epochs), best val/accuracy 0.5000")
    assert b"\x1b" not in screen.sent


def test_who_asked_for_quiet_is_told_nothing(screen, capsys):
    plan = Plan()
    with shown(plan, screen, quiet=True) as show:
        show(plan.end("baseline", 0, 0.5))
    screen.rest()
    assert screen.sent == b""
    with watched(plan, say, quiet=True, lines=True) as show:
        show(plan.end("baseline", 0, 0.5))
    assert capsys.readouterr() == ("", "")
