"""Controlled experiments for PyTorch: one hyperparameter at a time, all else provably equal.

    import paribus

    study = paribus.sweep("digits", {"optimizer.lr": [1e-3, 1e-2]}, seeds=3)
    print(paribus.compare(study).settings[1].verdict)

Importing this package imports no torch; the first use of a function imports the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "Comparison",
    "Run",
    "StudyResult",
    "__version__",
    "compare",
    "evaluate",
    "load_run",
    "load_study",
    "predict",
    "report",
    "reproduce",
    "sweep",
    "train",
]

if TYPE_CHECKING:
    from paribus.sweeps.analysis.compare import Comparison
    from paribus.sweeps.api import (
        Run,
        StudyResult,
        compare,
        evaluate,
        load_run,
        load_study,
        predict,
        report,
        reproduce,
        sweep,
        train,
    )

    __version__: str
else:

    def __getattr__(name: str) -> Any:
        """Import a name of the public API when it is first used."""
        if name not in __all__:
            raise AttributeError(f"module 'paribus' has no attribute {name!r}", name=name, obj=None)
        if name == "__version__":
            from importlib.metadata import version

            found = version("paribus")
        else:
            from paribus.sweeps import api

            found = getattr(api, name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted(__all__)
