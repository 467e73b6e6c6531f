"""What is read from `run.json`: by its format, and never more than it holds."""

import copy
from importlib import import_module

import pytest

from paribus.core.inference.load_run import with_places
from paribus.core.records import record as recording
from paribus.core.records.record import Epoch, present_name, read_record

WHOLE = {
    "format": 1, "run": "x-s0-0123456789ab", "experiment": "x", "seed": 0, "status": "complete",
    "reason": None, "engine": "loop",
    "configuration": {
        "data": {"name": "d"}, "select": {"metric": "val/f1", "direction": "maximize"},
        "device": "cpu",
    },
    "asked": {"device": "auto"}, "experiment_file": "x.py",
    "identity": {
            "sources": {}, "distributions": {}, "environment": {}, "configuration": {},
            "format": 2, "numerics": 1, "seed": 0, "data": None,
        },
    "facts": {"epochs": 2, "parameters": 3},
    "data": {"val": 4, "preprocessing": {"class_names": ["a", "b"]}},
    "initial_weights": {"w": "1"}, "epochs": 2,
    "best": {"epoch": 1, "metrics": {"val/f1": 1, "val/loss": None}, "confusion_matrix": None},
    "last": {"metrics": {"val/f1": 0.5}}, "weights_sha256": "a", "seconds": 1,
}  # fmt: skip


def test_attributes():
    record = read_record(WHOLE)
    assert (record.status, record.requested, record.is_complete) == (
        "complete", {"device": "auto"}, True
    )  # fmt: skip
    assert record.best.metrics["val/f1"] == record.value == 1.0
    assert record.class_names == ["a", "b"]
    assert (record.metric, record.facts.epochs, record.data.val) == ("val/f1", 2, 4)
    with pytest.raises(ValueError, match="frozen"):
        record.status = "failed"


def test_what_is_written_has_the_keys_that_were_given():
    assert read_record(WHOLE).to_json() == WHOLE
    line = {"epoch": 1, "metrics": {"val/f1": 1.0}, "weights_sha256": None}
    assert Epoch.model_validate(line).to_json() == line


def test_keys_of_another_version_are_no_damage():
    later = {**WHOLE, "added": 1, "facts": {**WHOLE["facts"], "added": 2}}
    assert read_record(later) == read_record(WHOLE)


def test_a_later_format_is_named():
    with pytest.raises(
        ValueError, match="has format 3; this version of paribus reads up to format 2"
    ):
        read_record({**WHOLE, "format": 3})


@pytest.mark.parametrize("path", [
    "run", "seed", "status", "engine", "asked", "asked.device", "configuration.select.metric",
    "configuration.data.name", "configuration.device", "identity.sources", "facts.epochs",
    "data.val", "data.preprocessing", "data.preprocessing.table", "best", "best.metrics",
    "initial_weights", "epochs",
])  # fmt: skip
@pytest.mark.parametrize("value", [None, [], {"x": "y"}])
def test_a_part_that_is_something_else_is_damage(path, value):
    record = copy.deepcopy(WHOLE)
    *parents, key = path.split(".")
    place = record
    for parent in parents:
        place = place[parent]
    if path in (
        "asked",
        "data.preprocessing",
        "identity.sources",
        "initial_weights",
    ) and isinstance(value, dict):
        value = "x"
    place[key] = value
    with pytest.raises(ValueError, match="is not a run's record"):
        read_record(record)


@pytest.mark.parametrize("key", ["class_names", "columns"])
@pytest.mark.parametrize("value", [5, "ab", [1, 2], {"a": "b"}])
def test_names_are_a_list(key, value):
    record = copy.deepcopy(WHOLE)
    record["data"]["preprocessing"][key] = value
    with pytest.raises(ValueError, match=f"is not a run's record .data.preprocessing.{key}"):
        read_record(record)


@pytest.mark.parametrize("names", [["a", "b"], None])
@pytest.mark.parametrize("counts", [
    [[1, 2], [3]], [[1, 2], []], [[], []], [[1, 2, 3], [1, 2, 3]], [[1, {}], [1, 2]], [1, 2],
    [[1, -2], [1, 2]], [[1, 2**63], [1, 2]], [[[1, 2], [3]], [[1, 2], [3, 4]]],
    [[[1, 2]], [[1, 2]]],
])  # fmt: skip
def test_a_confusion_matrix_is_one_of_the_classes(counts, names):
    """Found by forged records: `report` read them without a look."""
    record = copy.deepcopy(WHOLE)
    record["data"]["preprocessing"]["class_names"] = names
    record["best"]["confusion_matrix"] = [[1, 2], [3, 4]]
    assert read_record(record).confusion.toarray().tolist() == [[1, 2], [3, 4]]
    record["best"]["confusion_matrix"] = counts
    with pytest.raises(ValueError, match="is not a run's record"):
        read_record(record)


@pytest.mark.parametrize("counts", [[[0, 1]], [[0, 2, 1]], [[0, 0, -1]], [[0, {}, 1]], [0, 1, 2]])
def test_counts_are_of_classes(counts):
    record = copy.deepcopy(WHOLE)
    record["best"]["confusion_counts"] = [[0, 1, 7]]
    assert read_record(record).confusion.toarray().tolist() == [[0, 7], [0, 0]]
    record["best"]["confusion_counts"] = counts
    with pytest.raises(ValueError, match="is not a run's record"):
        read_record(record)


def test_a_failed_run_has_no_best_epoch():
    failed = {**WHOLE, "status": "failed", "reason": "r", "best": None}
    assert dict(read_record(failed).metrics) == {}
    with pytest.raises(ValueError, match="a failed run has no best epoch"):
        read_record({**WHOLE, "status": "failed"})


@pytest.mark.parametrize("old", recording._MOVED)
def test_what_a_record_of_format_1_names_is_where_it_says(old):
    module, _, name = present_name(f"{old}.something").rpartition(".")
    assert name == "something"
    import_module(module)


@pytest.mark.parametrize("place", ["data", "gone", "~nobody-of-this-name/data", "x\0y", "x" * 5000])
def test_a_relative_place_begins_where_the_run_was_trained(place, tmp_path):
    (tmp_path / "data").mkdir()
    record = read_record({**WHOLE, "noted": {"folder": str(tmp_path)}})
    found = with_places({"data": {"name": "d", "root": place}}, record)["data"]["root"]
    assert found == (str(tmp_path / "data") if place == "data" else place)
