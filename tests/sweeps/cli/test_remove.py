"""`remove`: what is asked for goes, what others need stays, and nothing goes unasked."""

import optuna
import pytest

SHORT = ("--set", "train.epochs=1", "--seeds", "2", "--no-wandb")


@pytest.fixture
def place(paribus, tmp_path):
    """Two studies that share their baseline's two runs, and a run beside them."""
    for name, level in (("first", "optimizer.lr=0.1"), ("second", "optimizer.lr=0.2")):
        assert paribus("sweep", "line", level, "--study", name, *SHORT, cwd=tmp_path).code == 0
    words = ("run", "line", "train.epochs=1", "--seed", "9", "--no-wandb")
    assert paribus(*words, cwd=tmp_path).code == 0
    return tmp_path


def runs(paribus, place, *words):
    return [run["run"] for run in paribus("runs", *words, "--json", cwd=place).json]


def studies(paribus, place):
    return {study["study"]: study for study in paribus("studies", "--json", cwd=place).json}


def test_a_study_goes_and_what_another_uses_stays(paribus, place):
    shared = set(runs(paribus, place, "first")) & set(runs(paribus, place, "second"))
    own = set(runs(paribus, place, "first")) - shared
    size = studies(paribus, place)["first"]["bytes"]
    unasked = paribus("remove", "first", cwd=place)
    assert (unasked.code, unasked.out) == (2, "")
    assert "This would remove study first and 2 runs (" in unasked.err
    assert "add --yes" in unasked.err
    assert len(runs(paribus, place)) == 7

    done = paribus("remove", "first", "--yes", "--json", cwd=place)
    assert done.code == 0
    assert set(done.json["runs"]) == own
    assert done.json["kept"] == {run: ["second"] for run in sorted(shared)}
    assert 0 < done.json["bytes"] < size
    assert [*studies(paribus, place)] == ["second"]
    assert own.isdisjoint(runs(paribus, place))
    assert shared <= set(runs(paribus, place))
    names = optuna.study.get_all_study_names(f"sqlite:///{place}/results/optuna.db")
    assert names == ["second"]
    again = paribus(
        "sweep", "line", "optimizer.lr=0.1", "--study", "first", *SHORT, "--json", cwd=place
    )
    assert (again.json["runs"]["trained"], again.json["runs"]["reused"]) == (2, 2)


def test_runs_go_by_their_names(paribus, place):
    (alone,) = [run for run in runs(paribus, place) if run.startswith("line-s9")]
    used = runs(paribus, place, "first")[0]
    done = paribus("remove", "line-s9", used, "--yes", cwd=place)
    assert done.code == 0
    assert f"{used} stays: first" in done.err
    assert done.out.startswith("Removed 1 run (")
    assert alone not in runs(paribus, place)
    assert used in runs(paribus, place)
    nothing = paribus("remove", used, "--yes", cwd=place)
    assert nothing.code == 2
    assert "There is nothing to remove." in nothing.err


def test_an_interrupted_run_goes_with_its_attempts(paribus, place):
    attempt = place / "results" / "attempts" / "line-s5-0123456789ab.1"
    attempt.mkdir(parents=True)
    (attempt / "last.pt").write_bytes(b"x" * 5000)
    (listed,) = [r for r in paribus("runs", "--json", cwd=place).json if "-s5-" in r["run"]]
    assert (listed["status"], listed["bytes"]) == ("interrupted", 5000)
    assert paribus("remove", "line-s5-0123456789ab", "--yes", cwd=place).code == 0
    assert not attempt.exists()


def test_names_that_mean_nothing_remove_nothing(paribus, place):
    before = runs(paribus, place)
    done = paribus("remove", "first", "nope", "line-s77", "--yes", cwd=place)
    assert (done.code, done.out) == (2, "")
    assert "'nope'" in done.err
    assert "'line-s77'" in done.err
    assert runs(paribus, place) == before
    assert {*studies(paribus, place)} == {"first", "second"}


def test_sizes_are_shown(paribus, place):
    lines = paribus("studies", cwd=place).out.splitlines()
    assert lines[1].split()[-1] == "size"
    assert lines[3].endswith(" kB")
    assert "size" in paribus("runs", cwd=place).out.splitlines()[1]


def test_an_unreadable_study_keeps_everything(paribus, place):
    file = place / "results" / "studies" / "second" / "study.json"
    content = file.read_bytes()
    file.write_bytes(content[:-40])
    done = paribus("remove", "first", "--yes", cwd=place)
    assert (done.code, done.out) == (1, "")
    assert str(file) in done.err
    file.write_bytes(content)
    assert len(runs(paribus, place)) == 7


def test_a_study_that_came_between_keeps_its_runs(paribus, place):
    from paribus.sweeps.cli.upkeep_commands import plan_removal, remove_planned
    from paribus.sweeps.study.results_dir import ResultsDir

    root = ResultsDir(place / "results")
    planned = plan_removal(root, ["first", "second"])
    words = ("sweep", "line", "optimizer.lr=0.1", "--study", "third", *SHORT)
    assert paribus(*words, cwd=place).code == 0
    said = remove_planned(planned, root)
    assert len([line for line in said if line.endswith("third uses it now.")]) == 4
    assert {*studies(paribus, place)} == {"third"}
    assert studies(paribus, place)["third"]["runs"] == 4
