"""A run that does not fit into memory is tried once more; then it is said what may fit."""

import pytest

FORWARD = "    def forward(self, x):\n"
# What PyTorch 2.11 says on a GPU; how much is free is another number each time.
FULL = """        if len(x) > (MOST if self.training else MOST_IN_VALIDATION):
            free = f"{time.time() % 1:.2f} GiB is free. Process 4711 has 138.00 GiB memory in use."
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
                f"139.81 GiB of which {free}"
            )
"""
REASON = "memory: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
HALF = "a smaller batch may fit: train.batch_size=16 train.accumulate=2, for example,"


@pytest.fixture
def call(troubled, paribus):
    """Runs a command on the experiment, whose net takes so many examples at a time."""

    def run(*words, most=1000, validation=1000):
        text = FULL.replace("MOST_IN_VALIDATION", str(validation)).replace("MOST", str(most))
        if text not in troubled.path.read_text():
            troubled.replace(FORWARD, FORWARD + text)
        root = ("--root", troubled.root.path, "--engine", "loop", "--no-wandb")
        return paribus(words[0], troubled.path, *words[1:], *root, cwd=troubled.folder)

    return run


def test_a_sweep_says_once_which_batches_may_fit(call):
    line = ("sweep", "train.batch_size=32", "--seeds", "2", "--study", "sizes")
    done = call(*line, most=16)
    assert done.code == 1
    assert done.err.count("it is tried once more.") == 2
    said = f"train.batch_size=32 stopped: seeds 0, 1: {REASON}; {HALF} makes the same updates"
    assert (done.err + done.out).count(HALF) == done.err.splitlines().count(said) == 1, done.err
    assert "Not finished: train.batch_size=32." in done.err

    again = call(*line, "--json", most=16)
    assert again.code == 1
    baseline, stopped = again.json["settings"]
    assert (baseline["status"], baseline["reason"]) == ("complete", None)
    assert stopped["status"] == "interrupted"
    assert f"train.batch_size=32 stopped: {stopped['reason']}" == said

    assert call("run", "train.batch_size=16", "train.accumulate=2", most=16).code == 0


def test_a_single_run_says_it_too(call, troubled):
    done = call("run", "train.batch_size=32", most=16)
    assert done.code == 1
    assert f"was not finished; {HALF} makes the same updates." in done.err
    assert done.err.count(HALF) == 1
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("size", "most", "advice"),
    [
        (1024, 16, "train.batch_size=16 train.accumulate=64,"),  # more than there are examples
        (15, 8, "train.batch_size=5 train.accumulate=3,"),
    ],
)
def test_what_may_fit_is_less_than_what_there_was(size, most, advice, call):
    done = call("run", f"train.batch_size={size}", most=most)
    assert done.code == 1
    assert advice in done.err


def test_validation_is_told_from_training(call):
    done = call("run", validation=5)  # of 10 examples, and `train.eval_batch_size` is 1000
    assert done.code == 1
    told = "was not finished; fewer at a time may fit, for example train.eval_batch_size=5."
    assert told in done.err
    assert call("run", "train.eval_batch_size=5", validation=5).code == 0
