"""Which engines there are, by name."""

from core.engine import Engine
from core.loop import Loop


def engine_of(name: str) -> Engine:
    """The engine of this name (as `core.spec.choose_engine` gives it)."""
    engines = {"loop": Loop}
    return engines[name]()
