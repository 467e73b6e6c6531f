"""Write a run that is being trained: the only folder that a worker writes to is its attempt's."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from paribus.core.components.pretrained import examples_of
from paribus.core.config.values import null_if_not_finite
from paribus.core.errors import DamagedError, RequestError
from paribus.core.fileio import json_text, write_folder
from paribus.core.fingerprint import FORMAT
from paribus.core.records.record import FORMAT as RECORD_FORMAT
from paribus.core.records.record import ReadLater, RunRecord
from paribus.core.records.run_dir import (
    BEST,
    HISTORY,
    LAST,
    PREDICTIONS,
    RECORD,
    CheckpointClock,
    load_state,
    save_state,
)
from paribus.core.run_spec import RunSpec
from paribus.core.sources.read_digests import changed_since
from paribus.core.training.engine import Report, State


class RunWriter:
    """Writes a run's attempt: resume states while it is trained, all other files at its end.

    Args:
        folder: The attempt's folder, made by the driver.
        run: The run.
        data: As of `Resolver.data_record`.
        checkpoint_every: Seconds between saves of the resume state; 0: each epoch.
        read_later: Asked what was read while it was trained, as the record has it: after the first
            epoch, at each save and at the end.

    Attributes:
        history: The lines of the epochs so far.
        unused_state: Why the resume state could not be used, if there was one.
    """

    def __init__(
        self,
        folder: Path,
        run: RunSpec,
        data: Mapping[str, Any],
        checkpoint_every: float,
        read_later: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.folder, self.run, self.data = folder, run, data
        self._look = read_later
        self._read_later = ReadLater()
        self.history: list[dict[str, Any]] = []
        self._clock = CheckpointClock(checkpoint_every)
        self._began = datetime.now(UTC)
        self._report: Report | None = None
        self.unused_state: str | None = None

    def restore(self) -> State | None:
        """Return the resume state that the driver put here, if there is one that can be used."""
        path = self.folder / LAST
        if not path.exists():
            return None
        try:
            state = load_state(path)
            if state.get("format") != FORMAT or not state.keys() >= {"epoch", "history"}:
                raise DamagedError(f"{path}: is no resume state of this version.")
        except DamagedError as error:
            self.unused_state = str(error)
            path.unlink()  # the next save would keep it as the one before
            return None
        read = self._read_later = ReadLater.model_validate(state.get("read_later", {}))
        if changed := changed_since(read.files, read.variables, self.run.path.parent):
            self.unused_state = f"{', '.join(changed)}, which it read, has changed since."
            path.unlink()
            self._read_later = ReadLater()
            return None
        self.history = state["history"]
        return state

    def add(self, report: Report) -> None:
        """Add an epoch, which `persist` then writes if it is time to.

        Raises:
            RequestError: If what was read earlier in this training has changed.
        """
        self.history.append(null_if_not_finite(report.line))
        self._report = report
        if report.finished or len(self.history) == 1:
            self._look_again()

    @property
    def is_due(self) -> bool:
        """Whether `persist` has something to write."""
        return self._clock.due() or (self._report is not None and self._report.finished)

    def persist(self) -> None:
        """Write everything when the run is finished, else save if the clock says so."""
        if self._report is not None and self._report.finished:
            self.finish(self._report.failure)
        elif self._clock.due():
            self.save()

    def _look_again(self) -> None:
        """Add what was read by now.

        Raises:
            RequestError: If something of it is not what it was earlier in this training.
        """
        before, now = self._read_later, ReadLater.model_validate(self._look())
        # A folder that it listed is taken as it is at the end: a run may write into it.
        files = {name: digest for name, digest in before.files.items() if not name.endswith("/")}
        then = (files, before.variables)
        here = (files | now.files, before.variables | now.variables)
        if changed := [
            n for old, new in zip(then, here, strict=True) for n in old if old[n] != new[n]
        ]:
            text = f"{', '.join(changed)} changed while {self.run.id}, which read it, was trained."
            raise RequestError(text, kind="changed")
        self._read_later = ReadLater(files=here[0], variables=here[1])

    def save(self) -> None:
        """Write the resume state now, if there is one: by the clock, and at a clean stop."""
        if self._report is None or self._report.state is None:
            return
        started = time.monotonic()
        try:
            self._look_again()
        except RequestError:
            return  # the run begins again
        state = {
            **self._report.state(),
            "history": self.history,
            "read_later": self._read_later.model_dump(),
            "format": FORMAT,
        }
        save_state(self.folder, state)
        self._clock.saved(time.monotonic() - started)

    def finish(self, failure: str | None) -> None:
        """Write the record, the history and, unless the run failed, what the best epoch gave."""
        report, ended = self._report, datetime.now(UTC)
        best = report.best if report and failure is None else None
        last = self.history[-1] if self.history else None
        record = RunRecord.model_validate({
            "format": RECORD_FORMAT,
            "run": self.run.id,
            "experiment": self.run.experiment,
            "seed": self.run.seed,
            "status": "complete" if failure is None else "failed",
            "reason": failure,
            "engine": self.run.engine,
            "configuration": self.run.configuration,
            "asked": self.run.requested.to_dict(),
            "experiment_file": self.run.path.name,
            "identity": self.run.identity,
            "facts": self.run.facts,
            "data": {k: v for k, v in self.data.items() if k != "targets"},
            "initial_weights": report.initial_weights if report else None,
            "epochs": len(self.history),
            "best": best and {
                "epoch": best.epoch,
                "metrics": null_if_not_finite(best.metrics),
                "confusion_matrix": best.confusion_matrix,
                **({"confusion_counts": best.confusion_counts} if best.confusion_counts else {}),
            },
            "last": last and {"metrics": last["metrics"]},
            "weights_sha256": last and last["weights_sha256"],
            "started": self._began.isoformat(timespec="seconds"),
            "ended": ended.isoformat(timespec="seconds"),
            "seconds": round(sum(line["seconds"] for line in self.history), 6),
            "noted": self.run.noted,
            "read_later": self._read_later.model_dump(),
        })  # fmt: skip
        lines = "".join(json.dumps(line, allow_nan=False) + "\n" for line in self.history)
        files = {
            RECORD: json_text(record.to_json()).encode() + b"\n",
            HISTORY: lines.encode(),
            **{f"source/{name}": content for name, content in self.run.sources.items()},
        }
        if best is not None and best.weights:
            metadata = {
                "run": self.run.id,
                "epoch": str(best.epoch),
                "task": json.dumps(self.run.configuration["task"]),
                "preprocessing": json.dumps(self.data["preprocessing"]),
                "examples": json.dumps(
                    examples_of(self.run.configuration, self.run.seed, self.data["fingerprint"])
                ),
            }
            files[BEST] = _safetensors(best.weights, metadata)
            if best.outputs is not None:
                predictions = {"targets": self.data["targets"], "outputs": best.outputs}
                files[PREDICTIONS] = _safetensors(predictions, {"run": self.run.id, "split": "val"})
        write_folder(self.folder, files)


def _safetensors(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Return a safetensors file with its metadata in order: the library shuffles them each time."""
    # Clones: the library refuses tensors that share memory.
    tensors = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    content = save(tensors, metadata)
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = metadata
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[end:]
