"""Which engines there are, and which one an experiment is for."""

from paribus.core.cohort.engine import Cohort
from paribus.core.config import ScriptConfiguration
from paribus.core.engine import Engine
from paribus.core.experiment import Experiment
from paribus.core.loop import Loop
from paribus.core.resolve import Resolver
from paribus.core.script_engine import Script, ScriptResolver


def engine_of(name: str) -> Engine:
    """The engine of this name (as `paribus.core.spec.choose_engine` gives it)."""
    engines: dict[str, type[Engine]] = {"loop": Loop, "cohort": Cohort, "script": Script}
    return engines[name]()


def resolver_of(experiment: Experiment) -> Resolver:
    """What resolves an experiment's configurations for the engine that trains them."""
    is_script = isinstance(experiment.baseline, ScriptConfiguration)
    return ScriptResolver(experiment) if is_script else Resolver(experiment)
