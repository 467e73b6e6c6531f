"""TensorBoard's view of runs and studies: event files, each written whole from the record."""

import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from paribus.core.config.schema import flatten
from paribus.core.errors import shown
from paribus.core.fileio import write_bytes
from paribus.core.records.record import Epoch, RunRecord
from paribus.sweeps.tracking.tracker import TrackedRun, TrackedStudy, Tracker
from paribus.sweeps.tracking.wandb_layout import Table, WandbRun, run_layout, study_layout

_OTHER = {"seed", "fold", "run", "environment"}  # in W&B's configuration; no hyperparameters


class TensorBoardTracker(Tracker):
    """Writes a run's event file, in ``tensorboard/STUDY/LABEL-sSEED``, once it is recorded.

    A study's own, in ``tensorboard/STUDY``, holds its table. A file's name holds a digest of its
    contents, so that what is there already is not written again.
    """

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        self._folder, self._warn = root / "tensorboard", warn
        self._runs: dict[str, TrackedRun] = {}  # begun and not finished
        self._said: set[str] = set()
        self._closed = False

    def begin(self, run: TrackedRun) -> None:
        self._runs[run.run] = run

    def finish(
        self, run: str, record: RunRecord, history: list[Epoch], delta: float | None = None
    ) -> None:
        if known := self._runs.pop(run, None):
            start = datetime.fromisoformat(record.started or "1970-01-01").timestamp()
            times = [*accumulate((epoch.seconds for epoch in history), initial=start)]
            self._write(lambda: run_layout(known, record, history, delta), times)

    def conclude(self, study: Callable[[], TrackedStudy | None]) -> None:
        self._write(lambda: study_layout(found) if (found := study()) else None, [time.time()])

    def close(self) -> None:
        self._closed = True

    def _write(self, lay_out: Callable[[], WandbRun | None], times: Sequence[float]) -> None:
        """Write the file of a run or a study, unless it is there, in place of an older one."""
        try:
            if self._closed or (contents := lay_out()) is None:
                return
            name = contents.names["name"].replace("/", "\\") if contents.run else ""
            folder = self._folder / (contents.study or "") / name
            file = folder / f"events.out.tfevents.0.{contents.digest}"
            if not file.exists():
                old, content = [*folder.glob("events.*")], _content(contents, times)
                folder.mkdir(parents=True, exist_ok=True)
                write_bytes(file, content)
                for other in old:
                    other.unlink()
                self._say("place", f"to see it: tensorboard --logdir {self._folder}")
        except Exception as error:
            self._say("fault", f"{shown(error, 200)}; the same command logs later what is missing")

    def _say(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._warn(f"TensorBoard: {text}")


def _content(contents: WandbRun, times: Sequence[float]) -> bytes:
    """Return an event file; times are those of its beginning and of each row."""
    written, step = io.BytesIO(), 0
    events = [Event(wall_time=times[0], file_version="brain.Event:2")]
    for row, then in zip(contents.rows, times[1:], strict=True):
        step = row.pop("epoch")
        events.append(Event(wall_time=then, step=step, summary=_scalars(row)))
    for summary in _at_end(contents, times[0]):
        events.append(Event(wall_time=times[-1], step=step, summary=summary))
    writer = RecordWriter(written)
    for event in events:
        writer.write(event.SerializeToString())
    return written.getvalue()


def _at_end(contents: WandbRun, start: float) -> Iterator[Summary]:
    """Yield hyperparameters, final numbers, tables and the picture."""
    if contents.run:
        config = {k: v for k, v in contents.config.items() if k not in _OTHER}
        values = {k: v for k, v in flatten(config).items() if v is not None}
        plain = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in values.items()}
        group = contents.names["group" if contents.study else "name"]  # a row of means over seeds
        yield hparams_pb(plain, trial_id=group, start_time_secs=start)
    yield _scalars(contents.summary)
    for key, table in contents.tables.items():
        text = TensorProto(dtype=DT_STRING, string_val=[_markdown(table).encode()])
        kind = create_summary_metadata(key, table.title)
        yield Summary(value=[Summary.Value(tag=key, metadata=kind, tensor=text)])
    if contents.picture:
        image = Summary.Image(encoded_image_string=contents.picture)
        yield Summary(value=[Summary.Value(tag="effects", image=image)])


def _scalars(values: dict[str, Any]) -> Summary:
    numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
    return Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in numbers.items()])


def _markdown(table: Table) -> str:
    """Return a table; a confusion matrix with a column for each predicted class."""
    columns, rows = table.columns, table.rows
    if table.title:
        size = math.isqrt(len(rows))
        columns = ["true \\ predicted", *(row[1] for row in rows[:size])]
        rows = [[rows[at][0], *(r[2] for r in rows[at : at + size])]
                for at in range(0, len(rows), size)]  # fmt: skip
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("|" + "|".join(str(x).replace("|", "\\|") for x in row) + "|" for row in lines)
