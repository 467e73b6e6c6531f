"""Rows 17 to 19: hostile and broken input of every kind, drawn; see `fuzz`."""

import pytest
from fuzz import FUZZED, run_kind


@pytest.mark.parametrize("kind", FUZZED)
def test_row_17_to_19_fuzzed(kind, paribus, tmp_path, injections, tally):
    tally(*run_kind(kind, injections(FUZZED[kind].quick), 0, tmp_path, paribus))
