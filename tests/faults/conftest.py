"""The fault matrix: each row injects its fault for real and counts what it finds broken.

The quick form runs with all other tests. `pytest tests/faults --injections 300` repeats the random
rows that often and prints `violations / injections` of each.
"""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from faulty import LONG, LR, line_of, sweeping
from troubled import Troubled

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


def pytest_terminal_summary(terminalreporter):
    injections, violations = Counter(), Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, count in report.user_properties if report.when == "call" else ():
                row, _, what = name.partition(": ")
                (injections if what == "injections" else violations)[row] += count
    if injections:
        terminalreporter.section("fault matrix: violations / injections")
        for row in sorted(injections):
            terminalreporter.write_line(f"{row}: {violations[row]} / {injections[row]}")


@pytest.fixture
def injections(request):
    """How often a random row injects: the quick form's number, or the one asked for."""
    return lambda quick: request.config.getoption("--injections") or quick


@pytest.fixture
def tally(request, record_property):
    """Notes a row's injections and what they broke; anything broken fails the test."""

    def note(injected, violations):
        row = request.node.name.removeprefix("test_").replace("_", " ")
        record_property(f"{row}: injections", injected)
        record_property(f"{row}: violations", len(violations))
        assert violations == []

    return note


@pytest.fixture(scope="session")
def workplace():
    from paribus.sweeps.execution.pool import Pool

    with Pool(2) as place:
        yield place


@pytest.fixture
def troubled(tmp_path, workplace):
    return Troubled(tmp_path, workplace)


@pytest.fixture(scope="session")
def reference(tmp_path_factory, workplace):
    """(label, seed) to weights hash, of a sweep that nothing disturbed."""
    troubled = Troubled(tmp_path_factory.mktemp("reference"), workplace)
    return troubled.sweep(LR, overrides=LONG, seeds=[0, 1]).hashes


@pytest.fixture
def begun(troubled):
    """Starts sweeps in processes of their own, and leaves none behind."""
    started = []

    def begin(*words, **options):
        started.append(sweeping(options.pop("of", troubled), *words, **options))
        return started[-1]

    yield begin
    for command in started:
        command.kill()


@pytest.fixture
def finish(paribus, troubled):
    """Runs the rows' command until it is done, and says so if it does not get there.

    What nothing disturbs needs no process of its own: a start takes longer than the training.
    """

    def run(at=troubled, root=None, tries=6):
        for _ in range(tries):
            done = paribus(*line_of(at, root=root), cwd=at.folder)
            if done.code == 0:
                return []
        return [f"still exit code {done.code} after {tries} tries: {done.err}"]

    return run


@pytest.fixture
def strace(tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    # Not --seccomp-bpf: with it strace 6.1 injects errors but no signals.
    return ["strace", "-f", "-o", str(tmp_path / "trace")]
