"""What is offline: of all that was logged to W&B, by the ledger and by wandb's folders."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.core.errors import DamagedError
from paribus.sweeps.root import Root
from paribus.sweeps.study import Study
from paribus.sweeps.tracking import layout, study_layout
from paribus.sweeps.tracking.ledger import LEDGER, Folders, Ledger, Line


@dataclass(frozen=True)
class Waiting:
    """A run, or the summary run of a study, that is not on the server as a whole.

    Attributes:
        study: Its study; None: it has none.
        run: Its id; None: it is the study's summary run, or nobody knows.
        wandb_id: Its id in W&B.
        line: What the ledger says of it; empty where it says nothing.
        files: wandb's own, as far as they are there.
    """

    study: str | None
    run: str | None
    wandb_id: str
    line: Line
    files: tuple[Path, ...]

    def document(self) -> dict[str, Any]:
        """What `--json` says it is."""
        return {"study": self.study, "run": self.run, "wandb_id": self.wandb_id}


@dataclass(frozen=True)
class Offline:
    """What the ledger and the folder ``wandb`` say is offline, and how much is not."""

    waiting: list[Waiting]
    unchanged: int


def find_offline(root: Root, study: str | None) -> Offline:
    """What waits to be uploaded.

    Args:
        root: Where results live.
        study: Only what is of this study.

    Raises:
        RequestError: There is no such study, and none was logged.
    """
    ledger, folders = Ledger(root.path / LEDGER), Folders(root.path / "wandb")
    if study is not None and all(line.get("study") != study for line in ledger):
        root.require_study(study)
    lines = {line["wandb_id"]: line for line in ledger}
    unknown = [wandb_id for wandb_id in folders.ids() if wandb_id not in lines]
    named = _names(root) if unknown else {}
    waiting, unchanged = [], 0
    for wandb_id in (*lines, *unknown):
        line = lines.get(wandb_id, {})
        of, run = (
            (line.get("study"), line.get("run")) if line else named.get(wandb_id, (None, None))
        )
        if study not in (None, of):
            continue
        files = tuple(folders.waiting(wandb_id))
        if line.get("mode") == "online" and not files:
            unchanged += 1
        else:
            waiting.append(Waiting(of, run, wandb_id, line, files))
    return Offline(waiting, unchanged)


def _names(root: Root) -> dict[str, tuple[str | None, str | None]]:
    """W&B's ids of all that there is to what they are of: study and run."""
    names: dict[str, tuple[str | None, str | None]] = {
        layout.id_of(None, run): (None, run) for run in root.run_ids()
    }
    for name in root.study_names():
        names[study_layout.wandb_id(name)] = (name, None)
        with suppress(DamagedError):
            for setting in Study.load(root, name).settings:
                names |= {layout.id_of(name, run): (name, run) for run in setting.runs.values()}
    return names
