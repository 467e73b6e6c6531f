"""What a study is called, by itself or by whoever asks."""

from __future__ import annotations

import hashlib
import re

from paribus.core.errors import RequestError, shown
from paribus.core.values import canonical_json
from paribus.sweeps.request import Question
from paribus.sweeps.root import Root

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def study_name(question: Question) -> str:
    """The name that follows from the experiment, its baseline and the names of the axes."""
    keys = sorted(axis.key for axis in question.axes)
    digest = hashlib.sha256(
        canonical_json([question.experiment, question.baseline, keys]).encode()
    ).hexdigest()[:6]
    words = [key.rsplit(".", 1)[-1] for key in keys]
    middle = "-".join(words) if len(words) <= 3 else f"{len(words)}-axes"
    experiment = re.sub(r"[^A-Za-z0-9_]+", "-", question.experiment).strip("-") or "experiment"
    return f"{experiment[:40]}-{middle}-{digest}"


def check_study_name(name: str) -> str:
    """Refuses a name that is no plain folder's name.

    Raises:
        RequestError: Saying what a name may hold.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise RequestError(
            f"--study '{shown(name, 60)}' is no name for a study.",
            "Take 1 to 100 letters, digits, '.', '_' and '-', beginning with a letter or digit.",
            "study-name",
        )
    return name


def latest_study(root: Root) -> str:
    """The study that was planned last.

    Raises:
        RequestError: If there is none.
    """
    names = root.study_names()
    if not names:
        raise RequestError(
            f"There is no study in {root.path}.", "Begin one: paribus sweep digits", "unknown-study"
        )
    return max(names, key=lambda n: (root.studies / n / "study.json").stat().st_mtime_ns)
