"""A study: asked in its file, happened in the runs, nothing in between stored."""

import json
import shutil

import pytest
from manifest import write_manifest
from troubled import Troubled, hashes

from paribus.core.errors import DamagedError, RequestError
from paribus.core.fileio import write_json
from paribus.sweeps.analysis import verdict_text
from paribus.sweeps.analysis.compare import best_setting, compare_study, run_document
from paribus.sweeps.cli.compare_command import undecided_text
from paribus.sweeps.execution.driver import USUAL
from paribus.sweeps.report.study_plots import StudyView
from paribus.sweeps.stats.verdicts import Pairs
from paribus.sweeps.study.request import StudyOptions
from paribus.sweeps.study.results import PlannedSetting, SettingResult
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study, _digest, check_study_name, latest_study, study_name
from paribus.sweeps.tracking.tracker import TrackedStudy, Tracker
from paribus.sweeps.tracking.wandb_layout import study_layout

LR = "optimizer.lr=0.1"
SETTING_KEYS = {"label", "changed", "derived", "runs", "seeds", "values", "mean", "std", "status"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory, workplace):
    """A study of four settings by two seeds; not to be changed."""
    troubled = Troubled(tmp_path_factory.mktemp("study"), workplace)
    return troubled.sweep(LR, "model.width=2", "loss=cross_entropy(label_smoothing=0.1)")


@pytest.fixture
def copied(swept, tmp_path):
    """The same study in a root that may be changed."""
    root = ResultsDir(tmp_path / "copy")
    shutil.copytree(swept.study.root.path, root.path)
    return root


def edit(root, run, **changes):
    """Changes fields of a run's record, as if it had been recorded so."""
    folder = root.runs / run
    record = json.loads((folder / "run.json").read_text())
    for name, value in changes.items():
        record[name] = value(record[name]) if callable(value) else value
    write_json(folder / "run.json", record)
    write_manifest(folder)


def run_of(study, label, seed):
    return study.find(label).runs[seed]


def result(root, label):
    return next(r for r in Study.load(root, "study").results() if r.setting.label == label)


@pytest.mark.parametrize(
    "forge",
    [
        lambda content: content.update(looks=[2]),
        lambda content: content.update(looks=[5, 3]),
        lambda content: content["settings"][1]["changed"].update({"optimizer.lr": [0.1]}),
        lambda content: content["settings"][2]["derived"].update(parameters=[]),
    ],
)
def test_a_file_that_no_command_can_have_written_is_refused(copied, forge):
    file = copied.studies / "study" / "study.json"
    content = json.loads(file.read_text())
    del content["sha256"]
    forge(content)
    file.write_text(json.dumps({**content, "sha256": _digest(content)}))
    with pytest.raises(DamagedError, match="is not a study"):
        Study.load(copied, "study")


def strict(value):
    return json.loads(json.dumps(value, allow_nan=False))


def test_the_file_holds_what_was_asked_and_nothing_that_happened(swept):
    asked = json.loads((swept.study.folder / "study.json").read_text())
    assert set(asked) == {
        "format", "study", "experiment", "baseline", "metric", "axes", "settings", "storage",
        "created", "sha256",
    }  # fmt: skip
    assert asked["metric"] == {"name": "val/accuracy", "direction": "maximize"}
    assert [(axis["key"], axis["baseline"], axis["levels"]) for axis in asked["axes"]] == [
        ("optimizer.lr", 0.01, [0.1]),
        ("model.width", 4, [2]),
        ("loss", "cross_entropy", ["cross_entropy(label_smoothing=0.1)"]),
    ]
    assert [s["label"] for s in asked["settings"]] == [
        "baseline", LR, "model.width=2", "loss=cross_entropy(label_smoothing=0.1)"
    ]  # fmt: skip
    for setting in asked["settings"]:
        assert set(setting) == {
            "label", "key", "level", "changed", "derived", "runs", "pruned",
        }  # fmt: skip
        assert list(setting["runs"]) == ["0", "1"]
    assert asked["settings"][1]["changed"] == {"optimizer.lr": [0.01, 0.1]}
    assert "parameters" in asked["settings"][2]["derived"]


def test_what_happened_is_read_from_the_runs(swept):
    for found in Study.load(swept.study.root, "study").results():
        records = [swept.study.root.run(run).record() for run in found.setting.runs.values()]
        values = [record.metrics["val/accuracy"] for record in records]
        assert (found.seeds, list(found.values)) == ((0, 1), values)
        assert found.mean == sum(values) / 2
        assert (found.status, found.reason) == ("complete", None)


def test_documents_have_the_contracts_keys(swept):
    document = strict(swept.sweep.document())
    assert set(document) == {
        "study", "experiment", "metric", "sameness", "runs", "settings", "best", "seconds",
        "storage", "power", "until_decided", "page",
    }  # fmt: skip
    assert document["sameness"] == "proven"
    assert document["runs"] == {"planned": 8, "trained": 8, "reused": 0, "failed": 0}
    assert document["storage"] == f"sqlite:///{swept.study.root.path}/optuna.db"
    compared = strict(swept.sweep.comparison().to_dict())
    for setting in document["settings"]:
        assert set(setting) >= SETTING_KEYS
    extra = {"delta", "interval", "p", "p_holm", "verdict"}
    for setting in compared["settings"]:
        assert set(setting) >= SETTING_KEYS | extra
    assert all(compared["settings"][0][key] is None for key in extra)
    steps = [s for s in swept.steps if s.record]
    run = strict(run_document(swept.study.root.run(steps[0].run.id), steps[0].record))
    assert set(run) >= {
        "run", "experiment", "study", "studies", "setting", "seed", "status", "reason", "engine",
        "dir", "reused", "epochs", "best", "last", "weights_sha256", "seconds",
    }  # fmt: skip
    assert (run["study"], run["setting"]) == (None, None)
    within = run_document(swept.study.root.run(run["run"]), steps[0].record, study=swept.study)
    assert (within["study"], within["setting"]) == ("study", {"label": "baseline", "changed": {}})


def test_verdicts_pair_the_seeds_that_both_have(swept):
    study = swept.study
    baseline, other = study.results()[:2]
    found = strict(compare_study(study, study.results()).to_dict())["settings"][1]
    pairs = Pairs.of(other.values, baseline.values)
    assert (found["delta"], found["pairs"]) == (pairs.mean, 2)
    assert found["this_part"] is None  # each seed has another part
    answer = found["new_data"]
    assert answer["interval"][0] < found["delta"] < answer["interval"][1]
    assert answer["p_holm"] == pytest.approx(min(1, 3 * answer["p"])) or answer["p_holm"] < 1
    assert found["interval"] == found["new_data"]["interval"]
    assert found["question"] == "new data"
    one = [study.results(seeds=[1])[0], *study.results()[1:]]
    found = compare_study(study, one).to_dict()["settings"][1]
    assert (found["delta"], found["interval"], found["pairs"], found["verdict"]) == (
        other.values[1] - one[0].values[0], None, 1, None
    )  # fmt: skip
    assert found["no_verdict"] == "one complete pair of seeds, and a verdict needs two"
    assert compare_study(study, study.results()[1:]).to_dict()["settings"][0]["delta"] is None


@pytest.mark.parametrize(("there", "more"), [([0, 1], 8), ([3, 7, 11], 8), ([*range(12)], 0)])
def test_seeds_cost_nothing_where_they_are(copied, there, more):
    study = Study.load(copied, "study")
    base, setting = study.settings[:2]
    base.runs = dict.fromkeys(range(30), base.runs[0])
    setting.runs = dict.fromkeys(there, setting.runs[0])
    found = compare_study(study)
    open_one = {"verdict": "undecided", "seeds_to_decide": 10, "label": setting.label}
    settings = [found.settings[0], found.settings[1].model_copy(update=open_one)]
    text = undecided_text(found.model_copy(update={"settings": settings}), study)
    assert f"({more} runs, about " in text


def test_the_study_s_margin_is_in_the_units_of_what_it_was_selected_by(copied):
    study = Study.load(copied, "study")
    study.requested.margin = 0.9
    own = compare_study(study, study.results()).to_dict()
    other = compare_study(study, study.results(metric="val/loss"), "val/loss").to_dict()
    assert own["margin"] == 0.9
    assert other["margin"] < 0.1
    rows = {row["label"]: row for row in other["settings"]}
    smoothed = rows["loss=cross_entropy(label_smoothing=0.1)"]
    assert (smoothed["verdict"], smoothed["delta"]) == (None, None)
    assert "other units" in smoothed["no_verdict"]
    assert rows[LR]["verdict"]


def test_a_seed_that_failed_is_shown_beside_the_verdict(copied):
    study = Study.load(copied, "study")
    edit(copied, run_of(study, LR, 1), status="failed", reason="non-finite: it was", best=None)
    found = compare_study(study, study.results()).to_dict()["settings"][1]
    assert (found["lost"], found["verdict"]) == ([1], None)
    assert found["no_verdict"].endswith("lost to failures: 1")


def test_the_best_setting_follows_the_direction(swept):
    results = swept.study.results()
    means = [r.mean for r in results]
    assert best_setting(results, "maximize").mean == max(means)
    assert best_setting(results, "minimize").mean == min(means)
    assert best_setting([], "maximize") is None


def test_best_is_by_the_mean_over_folds_as_the_verdict_is():
    """Seeds 0 and 5 validate on one fold: its examples count once."""
    seeds = tuple(range(6))

    def made(label, values):
        planned = PlannedSetting(label, "model.width", 1, {}, {}, dict.fromkeys(seeds, label))
        return SettingResult(planned, seeds, values, (label,), "complete", None, folds=5)

    base = made("baseline", (0.0,) * 6)
    uneven = made("uneven", (0.02, 0.0, 0.0, 0.0, 0.0, 0.02))
    even = made("even", (0.005,) * 6)
    assert uneven.mean > even.mean
    assert uneven.paired(base).mean == pytest.approx(0.004)
    assert best_setting([base, uneven, even], "maximize") is even


def test_tensors_that_a_change_of_the_model_left_alone_are_counted(swept, troubled):
    shared = {r.setting.label: r.document()["shared_tensors"] for r in swept.study.results()}
    assert shared["model.width=2"] == [0, 4]  # torch's own layers, made one after the other
    assert shared["baseline"] is None
    assert shared[LR] is None
    own = ("model=mlp(hidden_dim=8)",)
    mlp = troubled.sweep("model.num_layers=2", seeds=[0], overrides=own).study.results()[1]
    assert mlp.shared_tensors == (4, 6)  # first and last layer by name, equal in shape


def test_growing_trains_only_what_is_new(troubled):
    first = troubled.sweep(LR, seeds=[0])
    assert len(first.trained) == 2
    level = troubled.sweep("optimizer.lr=1", seeds=[0])
    assert len(level.trained) == 1
    axis = troubled.sweep("train.batch_size=8", seeds=[0])
    assert len(axis.trained) == 1
    seeds = troubled.sweep(LR, seeds=[2, 1, 0])
    assert len(seeds.trained) == 4
    assert [s["label"] for s in seeds.sweep.document()["settings"]] == ["baseline", LR]
    study = Study.load(troubled.root, "study")
    assert [(s.label, sorted(s.runs)) for s in study.settings] == [
        ("baseline", [0, 1, 2]),
        (LR, [0, 1, 2]),
        ("optimizer.lr=1.0", [0]),
        ("train.batch_size=8", [0]),
    ]
    assert [(a.key, a.levels) for a in study.requested.axes] == [
        ("optimizer.lr", [0.1, 1.0]),
        ("train.batch_size", [8]),
    ]
    rows = {
        row["label"]: row for row in compare_study(study, study.results()).to_dict()["settings"]
    }
    assert rows[LR]["pairs"] == 3
    assert rows["train.batch_size=8"]["pairs"] == 1
    again = troubled.sweep(LR, seeds=[0, 1, 2])
    assert (again.trained, again.sweep.counts["reused"]) == ([], 6)


def test_what_another_command_added_meanwhile_is_kept(troubled):
    late = troubled.plan(LR, name="study", seeds=[0])
    troubled.sweep("train.batch_size=8", seeds=[0])
    list(late.train(Tracker(), USUAL))
    labels = [s.label for s in Study.load(troubled.root, "study").settings]
    assert labels == ["baseline", "train.batch_size=8", LR]


def test_another_baseline_is_refused_saying_where(troubled):
    troubled.sweep(LR, seeds=[0])
    before = (troubled.root.studies / "study" / "study.json").read_bytes()
    for overrides, where in (
        (("train.epochs=2",), "train.epochs: 3 there, 2 here"),
        (("optimizer=sgd",), "optimizer: adam there, sgd here"),
        (("select.metric=val/loss",), "select.metric: "),
    ):
        with pytest.raises(RequestError, match=where) as caught:
            troubled.sweep(LR, seeds=[0], overrides=overrides)
        assert "--study" in caught.value.hint
    assert (troubled.root.studies / "study" / "study.json").read_bytes() == before


def test_a_study_that_another_driver_has_is_refused(troubled):
    troubled.root.create()
    with (
        troubled.root.lock("study-study", "The study study"),
        pytest.raises(RequestError, match=r"in use by another command \(process") as caught,
    ):
        troubled.sweep(LR, seeds=[0])
    assert caught.value.exit_code == 2
    assert list(troubled.root.studies.iterdir()) == []
    assert troubled.root.run_ids() == []


@pytest.mark.parametrize(("change", "best"), [(0.02, LR), (-0.02, "baseline")])
def test_where_the_baseline_lost_a_seed_differences_rank_and_not_means(copied, change, best):
    """The other setting's mean is the highest by the seed that the baseline has not."""
    study = Study.load(copied, "study")
    edit(copied, run_of(study, "baseline", 1), status="failed", reason="it was", best=None)
    values = {"baseline": [0.5], LR: [0.5 + change, 0.6], "model.width=2": [0.4, 0.9]}
    for label, of_seeds in values.items():
        for seed, value in enumerate(of_seeds):
            edit(copied, run_of(study, label, seed), best=lambda best, value=value: {
                **best, "metrics": {**best["metrics"], "val/accuracy": value}
            })  # fmt: skip
    third = "loss=cross_entropy(label_smoothing=0.1)"
    edit(copied, run_of(study, third, 0), status="failed", reason="it was", best=None)
    study = Study.load(copied, "study")
    comparison = compare_study(study)
    assert StudyView(study).chosen.label == LR
    assert f"{LR} ({change:+.4f})" in verdict_text.answer(comparison)
    tracked = TrackedStudy("study", study.experiment, {}, comparison)
    assert study_layout(tracked).summary["best/setting"] == best
    assert best_setting(study.results(), "maximize").label == best


def test_a_setting_fails_with_any_of_its_seeds(copied):
    study = Study.load(copied, "study")
    edit(copied, run_of(study, LR, 1), status="failed", reason="non-finite: it was", best=None)
    found = result(copied, LR)
    assert (found.status, found.seeds, found.reason) == (
        "failed", (0,), "seed 1: non-finite: it was"
    )  # fmt: skip
    assert best_setting([found], "maximize") is None
    assert len(found.runs) == 2


def test_a_setting_whose_run_is_gone_is_interrupted(copied):
    study = Study.load(copied, "study")
    shutil.rmtree(copied.runs / run_of(study, LR, 0))
    found = result(copied, LR)
    assert (found.status, found.seeds, found.runs) == (
        "interrupted", (1,), (run_of(study, LR, 1),)
    )  # fmt: skip
    assert result(copied, "baseline").status == "complete"


@pytest.mark.parametrize("name", ["run.json", "history.jsonl"])
def test_a_record_that_is_damaged_is_not_used(name, copied):
    file = copied.runs / run_of(Study.load(copied, "study"), LR, 0) / name
    text = file.read_text()
    file.write_text(text.replace("0.", "1.", 1))
    assert file.read_text() != text
    assert (result(copied, LR).status, result(copied, LR).seeds) == ("interrupted", (1,))


def test_a_metric_that_is_not_defined_fails_the_setting(copied):
    def without(best):
        return best | {"metrics": best["metrics"] | {"val/accuracy": None}}

    edit(copied, run_of(Study.load(copied, "study"), LR, 0), best=without)
    assert result(copied, LR).reason == "seed 0: val/accuracy is not defined"


LATER = "2999-01-01T00:00:00+00:00"


def part(name, **changes):
    return lambda identity: identity | {name: identity[name] | changes}


def test_a_table_holds_runs_of_one_environment_the_newest_baselines(copied):
    study = Study.load(copied, "study")
    # Of equal rank by planning: the last seed planned is the newest.
    newer = {"identity": part("environment", torch="99"), "ended": LATER}
    edit(copied, run_of(study, "baseline", 1), **newer)
    assert {
        r.setting.label: (r.status, r.seeds) for r in Study.load(copied, "study").results()
    } == {
        "baseline": ("interrupted", (1,)),
        LR: ("interrupted", ()),
        "model.width=2": ("interrupted", ()),
        "loss=cross_entropy(label_smoothing=0.1)": ("interrupted", ()),
    }
    edit(copied, run_of(study, "baseline", 0), **newer)
    edit(copied, run_of(study, LR, 1), **newer)
    assert (result(copied, "baseline").status, result(copied, LR).seeds) == ("complete", (1,))


@pytest.mark.parametrize(
    "newer",
    [
        part("sources", **{"troubled.py": "f00"}),
        lambda identity: identity | {"data": "f00"},
        lambda identity: identity | {"numerics": 99},
    ],
)
def test_nor_does_it_mix_what_other_code_or_data_trained(newer, copied):
    study = Study.load(copied, "study")
    edit(copied, run_of(study, LR, 1), identity=newer, ended=LATER)
    assert (result(copied, LR).status, result(copied, LR).seeds) == ("interrupted", ())
    edit(copied, run_of(study, "baseline", 1), identity=newer, ended=LATER)
    assert (result(copied, "baseline").seeds, result(copied, LR).seeds) == ((1,), (1,))


@pytest.mark.parametrize(
    ("label", "message"),
    [(LR, True), ("loss=cross_entropy(label_smoothing=0.1)", True), ("model.width=2", False)],
)
def test_other_initial_weights_fail_a_setting_that_must_begin_equal(label, message, copied):
    def other(weights):
        return weights | {"last.bias": "f00"}

    edit(copied, run_of(Study.load(copied, "study"), label, 1), initial_weights=other)
    found = result(copied, label)
    assert found.status == ("failed" if message else "complete")
    assert message == (
        found.reason is not None and "seed 1: initial weights differ" in found.reason
    )


def test_another_batch_order_fails_the_setting(copied):
    run = run_of(Study.load(copied, "study"), "model.width=2", 0)
    file = copied.runs / run / "history.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1]["order_sha256"] = "f00"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_manifest(copied.runs / run)
    assert "seed 0: the batch order of epoch 2 differs" in result(copied, "model.width=2").reason


def test_storage_credentials_are_written_nowhere(troubled):
    url = "postgresql://me:se/c:ret@host:5432/base?password=tail"
    with pytest.raises(RequestError) as refused:  # there is no such server
        troubled.plan(LR, seeds=[0], storage=url)
    planned = troubled.plan(LR, seeds=[0], name="study")
    planned.root.create()
    study = Study.open(planned.root, planned.question, StudyOptions([0], name="study", storage=url))
    study.plan(planned.question, planned.settings, planned.runs)
    text = "".join(p.read_text() for p in troubled.root.path.rglob("*") if p.is_file())
    for message in (text, str(refused.value)):
        assert "postgresql://host:5432/base" in message
        assert not any(word in message for word in ("se/c", "c:ret", "tail"))


def test_a_name_follows_from_baseline_and_axes_whatever_their_order_and_levels(troubled):
    def name(*axes, **options):
        return study_name(troubled.plan(*axes, **options).question)

    first = name(LR, "train.batch_size=8")
    assert first.startswith("troubled-lr-batch_size-")
    assert first == name("train.batch_size=4", "optimizer.lr=1", seeds=[3])
    assert first != name(LR, "train.batch_size=8", overrides=("train.epochs=2",))
    assert first != name(LR)
    check_study_name(first)


def test_names_that_are_no_folders_are_refused():
    for name in ("a", "A.b_c-1", "x" * 100):
        assert check_study_name(name) == name
    for name in ("", "../x", "/x", "a/b", "a\0", "x" * 101, ".hidden", "-x", "a..b", "ä", "a\n"):
        with pytest.raises(RequestError, match="is no name for a study"):
            check_study_name(name)


def test_the_latest_study_is_the_one_planned_last(troubled):
    with pytest.raises(RequestError, match="There is no study"):
        latest_study(troubled.root)
    for name in ("a", "b", "a"):
        troubled.sweep(LR, seeds=[0], name=name)
    assert latest_study(troubled.root) == "a"


def test_a_study_found_again_is_the_same(swept):
    study = Study.load(swept.study.root, "study")
    assert hashes(study) == swept.hashes
    assert study.place_of(run_of(study, LR, 1)) == (study.find(LR), 1)
    assert study.place_of("nothing") is None
    with pytest.raises(RequestError, match=r"no setting 'optimizer.lr=0.2'") as caught:
        study.find("optimizer.lr=0.2")
    assert LR in caught.value.hint
