"""From a data callable to prepared parts: load, split, standardize.

`load` calls the user's function and normalises what it returned into a `Source`; `prepare` makes
the training, validation and test `Part`s of it. Only this package knows the forms data comes in.
"""

from core.data.part import Part
from core.data.prepared import Data, prepare
from core.data.source import Source, load
from core.data.standardize import standardized

__all__ = ["Data", "Part", "Source", "load", "prepare", "standardized"]
