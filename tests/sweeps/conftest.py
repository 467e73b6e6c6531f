"""Workers that all tests of this folder share: torch is imported once."""

import pytest
from troubled import Troubled


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    from paribus.sweeps.execution.pool import Pool

    place = Pool(2)
    yield place
    place.close()


@pytest.fixture
def troubled(tmp_path, workplace):
    return Troubled(tmp_path, workplace)
