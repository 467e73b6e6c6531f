"""The files of a finished run, typed: `run.json` and the lines of `history.jsonl`."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import TypedDict

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

# Of what is written. 1 named objects of this package ``core.…``; see `with_present_names`.
FORMAT: Literal[2] = 2


Metrics = dict[str, float | None]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Pair = Annotated[list[Count], Field(min_length=2, max_length=2)]
Matrix = Annotated[list[Pair], Field(min_length=2, max_length=2)]
Triple = Annotated[list[Count], Field(min_length=3, max_length=3)]


class _Frozen(BaseModel):
    """Keys that a newer version adds are ignored; a value of another type is refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", populate_by_name=True)


class Epoch(_Frozen):
    """A line of `history.jsonl`; None is what a function keeps to itself."""

    epoch: int
    metrics: Metrics  # `<split>/<metric>`; None where it is not finite or not defined
    lr: float | None = None  # of the last update, of the optimizer's first group of parameters
    order_sha256: str | None = None  # hash of the order of the examples
    weights_sha256: str | None = None  # hash of the weights after the epoch
    seconds: float = 0.0  # training and validation

    def to_json(self) -> dict[str, Any]:
        """Return the line's keys, those that were given."""
        return self.model_dump(exclude_unset=True)


class Last(_Frozen):
    """The last epoch's metrics."""

    metrics: Metrics


class Best(_Frozen):
    """The best epoch: its number, metrics, and counts of (target, prediction) if there are any.

    Of a final run it is the last one.

    Attributes:
        confusion_matrix: None for values and for many classes.
        confusion_counts: Of many classes (target, prediction, count) of what occurs.
    """

    epoch: int
    metrics: Metrics
    confusion_matrix: list[list[Count]] | list[Matrix] | None
    confusion_counts: list[Triple] | None = None

    def counts_fit(self, classes: list[str] | None) -> bool:
        """Return whether there are counts for each of the classes and no others."""
        matrix = self.confusion_matrix or []
        size = len(classes or matrix)
        widths = {len(row) for row in matrix if not (row and isinstance(row[0], list))}
        codes = [code for *pair, _ in self.confusion_counts or () for code in pair]
        return len(matrix) in (0, size) and widths <= {size} and max(codes, default=-1) < size


class RecordedTable(TypedDict):
    """What pages say of a table's columns; `predict` reads the rest."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    columns: list[dict[str, Any]]


class Preprocessing(TypedDict, total=False):
    """Names of classes and columns; `predict` reads the rest."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    class_names: list[str] | None
    columns: list[str] | None
    table: RecordedTable


class RecordedData(_Frozen):
    """What a run was trained on; sizes and hash are None where a function keeps them to itself.

    Attributes:
        train, val, test: Examples in each part; `val` is 0 where only the function knows, and in a
            final run.
        input_shape: Of one input.
        classes: Class name to part to its examples.
        preprocessing: What `predict` needs: mean, scale, class names, columns, vocabulary, …
    """

    fingerprint: str | None = None
    train: int | None = None
    val: int
    test: int | None = None
    input_shape: list[int] | None = None
    classes: dict[str, Any] | None = None
    preprocessing: Preprocessing


class Facts(_Frozen):
    """What follows from a configuration; 0 where only a function knows.

    Attributes:
        epochs: How many the run was given.
        updates: Steps of the optimizer.
        parameters: Numbers in the model.
        directions: Further metrics to `minimize` or `maximize`; None where a metric has neither.
        fresh: Tensors that did not come from the file of weights to begin with.
        absent: Classes of which validation has no example.
        loss_by_batch: Whether the loss depends on how many examples it is given together.
        seeds_overridden: Whether all seeds begin with equal weights, as the model sets a seed.
    """

    epochs: int
    updates: int = 0
    updates_per_epoch: int = 0
    parameters: int
    directions: dict[str, Literal["maximize", "minimize"] | None] = {}
    fresh: Any = None
    absent: list[str] = []
    loss_by_batch: bool = False
    seeds_overridden: bool = False


class ReadLater(_Frozen):
    """Files to their sha256 and variables to their values; None: there was none."""

    files: dict[str, str | None] = {}
    variables: dict[str, str | None] = {}


def folds_of(configuration: Mapping[str, Any]) -> int:
    """Return into how many folds a resolved configuration cuts its examples; 1: one part."""
    split = configuration.get("split")
    folds = split.get("folds") if isinstance(split, Mapping) else None
    return folds if isinstance(folds, int) and folds > 0 else 1


class RunRecord(_Frozen):
    """`run.json`: what was trained, with what, and what came out.

    Attributes:
        status: `failed` if its training failed; `reason` says why.
        configuration: The resolved one; `requested` is the one that was asked for.
        identity: All that decides the numbers, by name; the id is its hash.
        initial_weights: Name to sha256 of each tensor before the first step.
        epochs: How many were trained.
        weights_sha256: Hash of the last epoch's weights.
        noted: What is no part of the identity: git, the working directory, where sources lay.
        read_later: What the user's code read after its model was built.
    """

    format: Literal[1, 2] = FORMAT
    run: str
    experiment: str
    seed: int
    status: Literal["complete", "failed"]
    reason: str | None
    engine: Literal["auto", "loop", "cohort", "script"]
    configuration: dict[str, Any]
    requested: dict[str, Any] = Field(alias="asked")
    experiment_file: str
    identity: dict[str, Any]
    facts: Facts
    data: RecordedData
    initial_weights: dict[str, str] | None
    epochs: int
    best: Best | None
    last: Last | None
    weights_sha256: str | None
    started: Any = None
    ended: Any = None
    seconds: float
    noted: Any = None
    read_later: ReadLater | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> RunRecord:
        """Refuse a record that lacks what every reader uses."""
        data = "script" if self.engine == "script" else "data"
        identity = {"files": {}, "variables": {}, **self.identity}  # which older records lack
        wanted: list[tuple[Any, type, tuple[str, ...]]] = [
            (self.configuration, str, ("select", "metric")),
            (self.configuration, str, ("device",)),
            (self.configuration, str, (data, "name")),
            (self.requested, str, ("device",)),
            *((identity, dict, (k,)) for k in ("environment", "sources", "distributions")),
            *((identity, dict, (k,)) for k in ("configuration", "files", "variables")),
            *((identity, int, (k,)) for k in ("format", "numerics", "seed")),
        ]
        if "data" not in identity:  # null where a script reads it
            raise ValueError("identity.data is missing")
        for value, kind, path in wanted:
            for part in path:
                value = value.get(part) if isinstance(value, dict) else None
            if not isinstance(value, kind):
                raise ValueError(f"{'.'.join(path)} is missing")
        if self.status == "failed" and self.best is not None:
            raise ValueError("a failed run has no best epoch")
        if self.status == "complete" and (self.best is None or self.initial_weights is None):
            raise ValueError("a complete run has a best epoch and initial weights")
        if self.best and not self.best.counts_fit(self.class_names):
            raise ValueError("best: its confusion matrix does not fit the classes")
        return self

    @property
    def folds(self) -> int:
        """Into how many folds its examples are cut; 1: one validation part for all seeds."""
        return folds_of(self.configuration)

    @property
    def fold(self) -> int | None:
        """The fold that it validates on; None where there are none."""
        return self.seed % self.folds if self.folds > 1 and not self.final_epoch else None

    @property
    def final_epoch(self) -> int | None:
        """Of a final run, which has no validation part, the epoch it was stopped after."""
        found = self.configuration.get("final_epoch")
        return found if isinstance(found, int) else None

    @property
    def finalized(self) -> dict[str, Any] | None:
        """The study, label and best epochs that a final run comes from; None of other runs."""
        found = _noted(self.noted, "finalized")
        return found if isinstance(found.get("label"), str) else None

    @property
    def is_complete(self) -> bool:
        return self.status == "complete"

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """The best epoch's metrics; none of a failed run."""
        return self.best.metrics if self.best else {}

    @property
    def confusion(self) -> csr_array | NDArray[Any] | None:
        """The best epoch's counts of (target, prediction), if there are any.

        Sparse int64 `[C, C]` for classes; an array `[L, 2, 2]` for labels.
        """
        import numpy as np
        from scipy.sparse import coo_array, csr_array

        best = self.best
        if best and best.confusion_counts:
            rows, columns, counts = np.array(best.confusion_counts).T
            classes = len(self.class_names or ())
            return coo_array((counts, (rows, columns)), (classes, classes)).tocsr()
        if best is None or not best.confusion_matrix:
            return None
        matrix = np.array(best.confusion_matrix, dtype=np.int64)
        return csr_array(matrix) if matrix.ndim == 2 else matrix

    @property
    def metric(self) -> str:
        """The selection metric."""
        return str(self.configuration["select"]["metric"])

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Which direction of the selection metric is better."""
        return self.configuration["select"]["direction"]

    @property
    def value(self) -> float | None:
        """The selection metric of the best epoch."""
        return self.metrics.get(self.metric)

    @property
    def class_names(self) -> list[str] | None:
        """The classes by their codes; None where there are no classes."""
        return self.data.preprocessing.get("class_names")

    def to_json(self) -> dict[str, Any]:
        """Return `run.json`'s keys, those that were given."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def read_record(value: Any) -> RunRecord:
    """Read a parsed `run.json`; raise ValueError, which says what is wrong, if it is none."""
    number = value.get("format") if isinstance(value, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise ValueError(
            f"has format {number}; this version of paribus reads up to format {FORMAT}"
        )
    try:
        return RunRecord.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(
            f"is not a run's record ({where + ': ' if where else ''}{first['msg']})"
        ) from error


def places_of_sources(noted: Any) -> dict[str, Path]:
    """Return where the files that a run carries lay when it was trained, by path in ``source/``."""
    found = {}
    for name, place in _noted(noted, "sources").items():
        with suppress(UnicodeEncodeError, TypeError):
            if b"\0" not in os.fsencode(name) + os.fsencode(place):
                found[name] = Path(place)
    return found


def noted_files(noted: Any) -> dict[str, str | None]:
    """Return the files that a run read when it was planned, to their sha256."""
    files = _noted(noted, "files").items()
    return {str(path): digest for path, digest in files if isinstance(digest, str | None)}


def _noted(noted: Any, key: str) -> dict[str, Any]:
    """Return one of the dicts that a record, whose notes may be anything, notes."""
    found = noted.get(key) if isinstance(noted, Mapping) else None
    return found if isinstance(found, dict) else {}


# Records of format 1, which the packages `core` and `sweeps` wrote: they name an object as
# ``core.models.MLP``, and the sources that they carry import it so.

_MOVED = {
    f"core.{old}": f"paribus.core.{new}"
    for old, new in {
        "augment": "data.images",
        "components": "config.registry",
        "config": "config.schema",
        "data": "data",
        "data.ahead": "data.loader",
        "data.digits": "data.images",
        "data.forms": "data.load",
        "data.part": "data.loader",
        "data.prepared": "data.prepare",
        "data.source": "data.load",
        "data.split": "data.prepare",
        "data.standardize": "data.arrays",
        "errors": "errors",
        "experiment": "config.experiment",
        "extra_metrics": "components.metrics",
        "files": "fileio",
        "losses": "components.losses",
        "metrics": "components.metrics",
        "models": "components.models",
        "optimizers": "components.optim",
        "process": "runtime",
        "seeding": "rng",
        "tasks": "components.tasks",
        "transfer": "components.pretrained",
        "values": "config.values",
    }.items()
}


def present_name(dotted: str) -> str:
    """Return today's path of what was at ``core.…``; another path as it is."""
    parts = dotted.split(".")
    for length in range(len(parts), 1, -1):
        if module := _MOVED.get(".".join(parts[:length])):
            return ".".join([module, *parts[length:]])
    return dotted


def has_old_names(record: RunRecord) -> bool:
    """Return whether ``core`` in a record is this package: none that the user's project has."""
    identity = record.identity
    known = {name.partition(":")[0].partition(".")[0] for name in identity["sources"]}
    return record.format == 1 and "core" not in {*known, *identity["distributions"]}


def with_present_names(configuration: Mapping[str, Any], record: RunRecord) -> dict[str, Any]:
    """Return a record's configuration, requested or resolved, with today's names of components."""
    if not has_old_names(record):
        return dict(configuration)
    return {
        key: {**value, "name": present_name(value["name"])}
        if isinstance(value, Mapping) and isinstance(value.get("name"), str)
        else value
        for key, value in configuration.items()
    }


class _PresentImports(ast.NodeTransformer):
    """Lets imports from ``core`` read today's modules."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.ImportFrom]:
        if node.level or not node.module or node.module.split(".")[0] != "core":
            return [node]
        found = []
        for alias in node.names:
            module, _, name = present_name(f"{node.module}.{alias.name}").rpartition(".")
            renamed = ast.alias(name, alias.asname or (alias.name if alias.name != name else None))
            found.append(ast.copy_location(ast.ImportFrom(module, [renamed], 0), node))
        return found

    def visit_Import(self, node: ast.Import) -> ast.Import:
        for alias in node.names:
            if alias.asname:  # else it binds `core` itself
                alias.name = present_name(alias.name)
        return node


def read_old_source(content: bytes, file: str) -> ast.Module:
    """Parse a carried source so that what it imports from ``core`` is found today."""
    tree: ast.Module = _PresentImports().visit(ast.parse(content, file))
    return ast.fix_missing_locations(tree)
