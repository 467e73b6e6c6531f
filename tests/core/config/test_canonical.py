"""One thing has one name, and schedulers get the length of training in their own units."""

from paribus.core.config.experiment import load_experiment
from paribus.core.config.schema import Configuration
from paribus.core.training.resolve import Resolver

OWN = """
from torch.optim.lr_scheduler import LambdaLR


def falling(optimizer, epochs, steps_per_epoch) -> LambdaLR:
    return LambdaLR(optimizer, lambda epoch: 1 - epoch / (epochs * steps_per_epoch))


def loss_of_mine(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)
"""


def resolved(path, **parts):
    resolver = Resolver(load_experiment(path))
    asked = Configuration.parse({**resolver.experiment.baseline.to_dict(), **parts}, "test")
    return resolver.specify(asked, 0)


def test_a_bare_name_and_a_full_one_are_the_same_run(write_small):
    path = write_small(OWN).path
    bare = resolved(path, loss={"name": "loss_of_mine"})
    full = resolved(path, loss={"name": f"{path.name}:loss_of_mine"})
    assert bare.id == full.id


def test_a_scheduler_of_ones_own_gets_epochs_and_steps(write_small):
    run = resolved(write_small(OWN).path, scheduler={"name": "falling", "interval": "update"})
    scheduler = run.configuration["scheduler"]
    assert scheduler["epochs"] == run.facts["epochs"]
    assert scheduler["steps_per_epoch"] == run.facts["updates_per_epoch"]
