"""`paribus check`, in a process that trains could run in. It alone imports scikit-learn."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

from paribus.core.check import Check, check
from paribus.core.train import resolver_for_file
from paribus.sweeps.axes import apply_overrides
from paribus.sweeps.planning import start_of
from paribus.sweeps.request import Request


def check_request(request: Request) -> tuple[str, list[Check]]:
    """The name of the experiment, and what `check` finds.

    Raises:
        RequestError: With all faults of the request, or if its data cannot be had.
    """
    resolver = resolver_for_file(request.path, request.import_paths)
    experiment = resolver.experiment
    asked = apply_overrides(start_of(request, experiment), request.overrides, experiment)
    with redirect_stdout(sys.stderr):  # standard output is the command's own
        return experiment.name, list(check(resolver, asked))
