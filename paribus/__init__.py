"""Controlled experiments for PyTorch: one hyperparameter at a time, all else provably equal.

    import paribus

    study = paribus.sweep("digits", {"optimizer.lr": [1e-3, 1e-2]}, seeds=3)
    print(paribus.compare(study).settings[1].verdict)

Importing this package imports no torch; the first use of a name imports what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "Comparison",
    "DamagedError",
    "Evaluation",
    "EvaluationComparison",
    "ParibusError",
    "Predictions",
    "Report",
    "Reproduced",
    "ReproducedSetting",
    "RequestError",
    "Run",
    "RunRecord",
    "SettingComparison",
    "StudyResult",
    "__version__",
    "compare",
    "evaluate",
    "finalize",
    "load_run",
    "load_study",
    "predict",
    "report",
    "reproduce",
    "sweep",
    "train",
]

if TYPE_CHECKING:
    from paribus.core.errors import DamagedError, ParibusError, RequestError
    from paribus.core.inference.evaluate import Evaluation
    from paribus.core.inference.predict import Predictions
    from paribus.core.records.record import RunRecord
    from paribus.sweeps.analysis.compare import Comparison, SettingComparison
    from paribus.sweeps.api import (
        Run,
        StudyResult,
        compare,
        evaluate,
        finalize,
        load_run,
        load_study,
        predict,
        report,
        reproduce,
        sweep,
        train,
    )
    from paribus.sweeps.evaluate import EvaluationComparison
    from paribus.sweeps.report.page import Report
    from paribus.sweeps.reproduce import Reproduced, ReproducedSetting

    __version__: str
else:
    # Types that `paribus.sweeps.api` does not define, by module.
    _ELSEWHERE = {
        "core.errors": ("DamagedError", "ParibusError", "RequestError"),
        "core.inference.evaluate": ("Evaluation",),
        "core.inference.predict": ("Predictions",),
        "core.records.record": ("RunRecord",),
        "sweeps.analysis.compare": ("Comparison", "SettingComparison"),
        "sweeps.evaluate": ("EvaluationComparison",),
        "sweeps.report.page": ("Report",),
        "sweeps.reproduce": ("Reproduced", "ReproducedSetting"),
    }

    def __getattr__(name: str) -> Any:
        """Import a name of the public API when it is first used."""
        if name not in __all__:
            raise AttributeError(f"module 'paribus' has no attribute {name!r}", name=name, obj=None)
        if name == "__version__":
            from importlib.metadata import version

            found = version("paribus")
        else:
            home = next((home for home, names in _ELSEWHERE.items() if name in names), "sweeps.api")
            found = getattr(import_module(f"paribus.{home}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted(__all__)
