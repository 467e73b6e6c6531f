"""TensorBoard's view of runs: event files, each written whole from the record."""

import io
import math
from collections.abc import Callable, Sequence
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
from paribus.sweeps.tracking.tracker import TrackedRun, Tracker
from paribus.sweeps.tracking.wandb_layout import WandbRun, run_layout

_OTHER = {"seed", "fold", "run", "environment"}  # in W&B's configuration; no hyperparameters


class TensorBoardTracker(Tracker):
    """Writes a run's event file, in ``tensorboard/STUDY/LABEL-sSEED``, once it is recorded.

    The file's name holds a digest of its contents, so that what is there is not written again.
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
        if (known := self._runs.pop(run, None)) is None or self._closed:
            return
        try:
            contents = run_layout(known, record, history, delta)
            name = contents.names["name"].replace("/", "\\")
            folder = self._folder / (known.study or "") / name
            file = folder / f"events.out.tfevents.0.{contents.digest}"
            if not file.exists():
                start = datetime.fromisoformat(record.started or "1970-01-01").timestamp()
                times = [*accumulate((epoch.seconds for epoch in history), initial=start)]
                old, content = [*folder.glob("events.*")], _content(contents, times)
                folder.mkdir(parents=True, exist_ok=True)
                write_bytes(file, content)
                for other in old:
                    other.unlink()
                self._say("place", f"to see it: tensorboard --logdir {self._folder}")
        except Exception as error:
            self._say("fault", f"{shown(error, 200)}; the same command logs later what is missing")

    def close(self) -> None:
        self._closed = True

    def _say(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._warn(f"TensorBoard: {text}")


def _content(contents: WandbRun, times: Sequence[float]) -> bytes:
    """Return an event file; times are those of its beginning and of each row."""
    written, step = io.BytesIO(), 0
    writer = RecordWriter(written)

    def write(then: float, **event: Any) -> None:
        writer.write(Event(wall_time=then, **event).SerializeToString())

    write(times[0], file_version="brain.Event:2")
    for row, then in zip(contents.rows, times[1:], strict=True):
        step = row["epoch"]
        write(then, step=step, summary=_scalars(row))
    config = {key: value for key, value in contents.config.items() if key not in _OTHER}
    given = {key: value for key, value in flatten(config).items() if value is not None}
    plain = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in given.items()}
    group = contents.names["group" if contents.study else "name"]  # shown as means over its seeds
    write(times[0], summary=hparams_pb(plain, trial_id=group, start_time_secs=times[0]))
    write(times[-1], step=step, summary=_scalars(contents.summary))
    for key, table in contents.tables.items():
        text = TensorProto(dtype=DT_STRING, string_val=[_markdown(table.rows).encode()])
        kind = create_summary_metadata(key, table.title)
        summary = Summary(value=[Summary.Value(tag=key, metadata=kind, tensor=text)])
        write(times[-1], step=step, summary=summary)
    return written.getvalue()


def _scalars(values: dict[str, Any]) -> Summary:
    numbers = {k: v for k, v in values.items() if isinstance(v, int | float) and k != "epoch"}
    return Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in numbers.items()])


def _markdown(cells: Sequence[Sequence[Any]]) -> str:
    """Return a confusion matrix as a table, from its cells: true, predicted, count."""
    size = math.isqrt(len(cells))
    starts = range(0, len(cells), size)
    rows = [[cells[at][0], *(cell[2] for cell in cells[at : at + size])] for at in starts]
    lines = [["true \\ predicted", *(cell[1] for cell in cells[:size])], ["-"] * (size + 1), *rows]
    return "\n".join("|".join(str(x).replace("|", "\\|") for x in ["", *row, ""]) for row in lines)
