"""Where the user's sources seed the global generators."""

import pytest

from paribus.core.sources.seeding_calls import seeding_calls

HEAD = """import random
import numpy as np
import torch
from torch import manual_seed
import mine.helpers as helpers
"""


def found(text):
    return [call.removeprefix("train.py, line 6: ") for call in seeding_calls(
        {"train.py": (HEAD + text).encode()}
    )]  # fmt: skip


@pytest.mark.parametrize("call", [
    "torch.manual_seed(42)", "manual_seed(42)", "torch.cuda.manual_seed_all(1)",
    "random.seed(0)", "np.random.seed(0)", "helpers.seed_everything()", "set_seed(seed=3)",
])  # fmt: skip
def test_a_call_that_seeds_a_global_generator_is_named_with_its_line(call):
    assert found(f"def train(seed): {call}") == [call]


@pytest.mark.parametrize("text", [
    "torch.Generator().manual_seed(0)",
    "g = torch.Generator()\ng.manual_seed(0)",
    "class Net:\n    def f(self): self.rng.seed(0)",
    "torch.initial_seed()",
    "np.random.default_rng(seed=0)",
])  # fmt: skip
def test_a_generator_of_ones_own_is_no_global_one(text):
    assert found(text) == []


def test_calls_with_constants_hide_those_that_may_follow_from_the_runs_seed():
    helper = b"import torch\n\ndef seed_all(seed=1):\n    torch.manual_seed(seed)\n"
    assert seeding_calls({"helper.py": helper}) == ["helper.py, line 4: torch.manual_seed(seed)"]
    both = {"helper.py": helper, "train.py": b"from helper import seed_all\nseed_all(7)\n"}
    assert seeding_calls(both) == ["train.py, line 2: seed_all(7)"]


def test_what_is_no_python_is_passed_over():
    assert seeding_calls({"broken.py": b"def (:", "binary.py": b"\0"}) == []
