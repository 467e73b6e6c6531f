"""Whoever edits what makes numbers shows that the bits stayed, or raises NUMERICS."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDED = REPOSITORY / "tests" / "core" / "numerics.json"


def test_the_modules_that_make_numbers_are_those_that_were_compared():
    script = REPOSITORY / "tests" / "reference_runs.py"
    command = [sys.executable, str(script), "--digest"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == json.loads(RECORDED.read_text()), (
        "core's modules that make numbers, or NUMERICS, are not those of tests/core/numerics.json. "
        "Train the reference runs before and after, with one command: "
        "python tests/reference_runs.py"
    )
