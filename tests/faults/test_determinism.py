"""Row 21: a seed has one hash, however many workers, in whatever order, stopped or not."""

from contextlib import ExitStack

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from troubled import Troubled

from paribus.sweeps.execution.pool import Pool

CONFIGURATIONS = st.sampled_from([
    (),
    ("model.width=7", "optimizer=sgd", "optimizer.momentum=0.9"),
    ("model=mlp", "model.dropout=0.3", "model.hidden_dim=9", "scheduler=cosine"),
    ("model=mlp", "model.num_layers=2", "optimizer=adamw", "train.batch_size=7"),
    ("optimizer=rmsprop", "loss=cross_entropy(label_smoothing=0.1)", "standardize=false"),
])  # fmt: skip
AXES = ("optimizer.lr=0.1,0.02", "train.epochs=2,4", "loss=cross_entropy(label_smoothing=0.2)")


def test_row_21_one_hash_for_each_seed(tmp_path, workplace, injections, tally, request):
    references, number, violations = {}, [0], []

    def swept(overrides, axes, seeds, place, stop_after):
        number[0] += 1
        troubled = Troubled(tmp_path / str(number[0]), place)
        if stop_after:
            seen = []

            def stop():
                seen.append(None)
                return len(seen) > stop_after

            troubled.sweep(*axes, overrides=overrides, seeds=seeds, stop=stop)
        return troubled.sweep(*axes, overrides=overrides, seeds=seeds).hashes

    @settings(
        max_examples=injections(3),
        deadline=None,
        database=None,
        derandomize=not request.config.getoption("--injections"),
        suppress_health_check=list(HealthCheck),
    )
    @given(
        overrides=CONFIGURATIONS,
        axes=st.permutations(AXES),
        seeds=st.permutations([0, 3]),
        workers=st.sampled_from([1, 2, 4]),
        fresh=st.booleans(),
        stop_after=st.sampled_from([0, 3, 12]),
    )
    def tried(overrides, axes, seeds, workers, fresh, stop_after):
        if overrides not in references:
            references[overrides] = swept(overrides, AXES, [0, 3], workplace, 0)
        with ExitStack() as stack:
            place = workplace
            if fresh:
                place = stack.enter_context(Pool(workers))
            place.workers = workers
            found = swept(overrides, axes, seeds, place, stop_after)
        if found != references[overrides]:
            violations.append(f"{overrides} {axes} {seeds} {workers} {fresh} {stop_after}")

    try:
        tried()
    finally:
        workplace.workers = 2
    tally(number[0], violations)
