"""Which engines there are, and which one an experiment is for."""

from core.cohort.engine import Cohort
from core.config import ScriptConfiguration
from core.engine import Engine
from core.experiment import Experiment
from core.loop import Loop
from core.resolve import Resolver
from core.script_engine import Script, ScriptResolver


def engine_of(name: str) -> Engine:
    """The engine of this name (as `core.spec.choose_engine` gives it)."""
    engines: dict[str, type[Engine]] = {"loop": Loop, "cohort": Cohort, "script": Script}
    return engines[name]()


def resolver_of(experiment: Experiment) -> Resolver:
    """What resolves an experiment's configurations for the engine that trains them."""
    is_script = isinstance(experiment.baseline, ScriptConfiguration)
    return ScriptResolver(experiment) if is_script else Resolver(experiment)
