"""Groups of parameters: what torch's optimizer is made with, in the record, and refused."""

import io

import pytest
import torch

from paribus.core.errors import RequestError
from paribus.core.training.engine import Job
from paribus.core.training.loop import Loop

OWN = """
def parameter_groups(model):
    return [
        {"params": model.head.parameters()},
        {"params": model.body.parameters(), "lr": 0.002, "weight_decay": 0.5},
    ]


def head_only(model):
    return [{"params": model.head.parameters()}]


def misspelt(model):
    return [{"params": model.parameters(), "weight_deacy": 0.1}]


def nonsense(model):
    return model.no_such_layer.parameters()
"""
ADAMW = {"name": "adamw", "lr": 0.01, "weight_decay": 0.1}


def optimizer_of(small, scheduler="constant", train=None, **keywords):
    """The optimizer of a run's first step, and the names of the parameters by group."""
    asked = small.asked(
        model="Net",
        optimizer=ADAMW | keywords,
        scheduler=scheduler,
        train={"epochs": 2, "batch_size": 16} | (train or {}),
    )
    small.resolver.specify(asked, 0)
    train_state = small.resolver.train_state(asked, 0)
    names = {id(p): name for name, p in train_state.model.named_parameters()}
    groups = train_state.optimizer.param_groups
    return train_state, [[names[id(p)] for p in group["params"]] for group in groups]


def values(train_state, key):
    return [group[key] for group in train_state.optimizer.param_groups]


def test_norms_and_biases_do_not_decay(small):
    train_state, names = optimizer_of(small, no_weight_decay="norm_bias")
    assert names == [
        ["body.0.weight", "head.weight"],
        ["body.0.bias", "body.1.weight", "body.1.bias", "head.bias"],
    ]
    assert values(train_state, "weight_decay") == [0.1, 0.0]
    assert values(train_state, "lr") == [0.01, 0.01]


def test_parts_have_learning_rates_of_their_own(small):
    """The group whose rate is not scaled comes first: it is the one that is recorded."""
    train_state, names = optimizer_of(small, lr_scale={"body": 0.1, "head.b*": 2})
    assert names == [
        ["head.weight"],
        ["body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias"],
        ["head.bias"],
    ]
    assert values(train_state, "lr") == pytest.approx([0.01, 0.001, 0.02])
    both = {"lr_scale": {"body": 0.5}, "no_weight_decay": ["*.bias", "body.1"]}
    train_state, names = optimizer_of(small, **both)
    pairs = zip(values(train_state, "lr"), values(train_state, "weight_decay"), strict=True)
    assert sorted(pairs) == [(0.005, 0.0), (0.005, 0.1), (0.01, 0.0), (0.01, 0.1)]
    assert values(train_state, "lr")[0] == 0.01


@pytest.mark.parametrize("scheduler", ["one_cycle", "linear_warmup", "cosine"])
def test_schedulers_scale_the_rate_of_each_group(small, scheduler):
    train_state, _ = optimizer_of(small, scheduler, lr_scale={"body": 0.1})
    plain, _ = optimizer_of(small, scheduler)
    for _ in range(5):
        (lr,) = values(plain, "lr")
        assert values(train_state, "lr") == pytest.approx([lr, lr / 10])
        for each in (train_state, plain):
            each.optimizer.step()
            each.scheduler.step()


def test_a_function_of_the_file_makes_the_groups(write_small):
    small = write_small(OWN)
    train_state, names = optimizer_of(small, groups="parameter_groups")
    assert names[0] == ["head.weight", "head.bias"]
    assert values(train_state, "lr") == [0.01, 0.002]
    assert values(train_state, "weight_decay") == [0.1, 0.5]


def test_an_edit_of_that_function_is_another_run(write_small):
    """The baseline names nothing else of its file."""
    own = 'def halves(model):\n    return [{"params": model.parameters(), "lr": RATE}]\n\n\n'
    library = [
        ('"data": waves', '"data": "sklearn.datasets.load_wine"'),
        ('"adam", "lr": 0.01}', '"adam", "lr": 0.01, "groups": halves}'),
    ]
    first, second = ([*library, ("BASELINE =", f"{own}BASELINE =".replace("RATE", rate))]
                     for rate in ("0.5", "0.25"))  # fmt: skip
    run = write_small(replace=first).run()
    assert run.configuration["optimizer"]["groups"] == "halves"
    assert list(run.sources) == ["small.py"]
    assert write_small(replace=second).run().id != run.id


def test_it_resumes_to_the_same_bits(small):
    optimizer = ADAMW | {"lr_scale": {"output": 0.1}, "no_weight_decay": "*.bias"}
    job = Job((small.run(optimizer=optimizer, scheduler="cosine"),), small.resolver)
    (run,) = job.runs
    reports, saved = [], []
    for (report,) in Loop().train(job, {}):
        reports.append(report)
        buffer = io.BytesIO()
        torch.save(report.state(), buffer)
        saved.append(buffer.getvalue())
    again = [r for (r,) in Loop().train(job, {run.id: torch.load(io.BytesIO(saved[1]))})]
    hashes = [report.line["weights_sha256"] for report in reports]
    assert [report.line["weights_sha256"] for report in again] == hashes[2:]
    assert reports[0].line["lr"] == 0.01
    plain = Job((small.run(optimizer=ADAMW, scheduler="cosine"),), small.resolver)
    assert hashes[-1] not in [r.line["weights_sha256"] for (r,) in Loop().train(plain, {})]


def test_keys_that_are_not_used_leave_records_as_they_were(small):
    plain = small.run(optimizer=ADAMW)
    unset = {"no_weight_decay": None, "lr_scale": None, "groups": None}
    assert small.run(optimizer=ADAMW | unset).id == plain.id
    assert not unset.keys() & plain.configuration["optimizer"].keys()
    grouped = small.run(optimizer=ADAMW | {"no_weight_decay": "norm_bias"})
    assert grouped.id != plain.id
    assert (plain.engine, grouped.engine) == ("cohort", "loop")
    why = small.resolver.summary(grouped.requested, "auto")["why_no_cohort"]
    assert why == "its optimizer has more than one group of parameters"


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"lr_scale": {"bodi": 0.1}}, "'bodi' means no parameter that is trained. Did you mean 'b"),
        ({"no_weight_decay": "x*"}, "'x*' means no parameter that is trained. Names are body, "),
        ({"no_weight_decay": ["x*", "y*"]}, "'y*' means no parameter"),
        ({"lr_scale": {"body": 1, "*.bias": 2}}, "both mean body.0.bias, body.1.bias."),
        ({"lr_scale": 0.1}, 'optimizer.lr_scale=0.1: must be a dict such as {"NAME": 0.1} or none'),
        ({"lr_scale": {"body": 0}}, 'optimizer.lr_scale={"body": 0}: must be'),
        ({"groups": "head_only"}, "head_only puts body.0.weight, body.0.bias, body.1.weight, "),
        (
            {"groups": "misspelt"},
            "weight_deacy is no option of this optimizer. Did you mean 'weight_",
        ),
        ({"groups": "nonsense"}, "nonsense makes no groups of this model's parameters: Attribute"),
        ({"groups": "head_onyl"}, "no function 'head_onyl'. Did you mean 'head_only'?"),
        (
            {"groups": "head_only", "lr_scale": {"body": 1}},
            "no_weight_decay and lr_scale change nothing",
        ),
        ({"name": "rprop", "no_weight_decay": "norm_bias"}, "has no keyword 'no_weight_decay'"),
    ],
    ids=str,
)
def test_what_would_change_nothing_or_not_what_is_meant_is_refused(write_small, keywords, words):
    small, common = write_small(OWN), {"name": "adamw"}
    with pytest.raises(RequestError) as caught:
        small.run(model="Net", optimizer=common | keywords)
    assert words in str(caught.value)
