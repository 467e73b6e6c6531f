"""From a data callable to prepared parts: load, split, standardize.

`load` calls the user's function and normalises what it returned into a `Source`; `prepare` makes
the training, validation and test `Part`s of it. Only this package knows the forms data comes in.
"""

from paribus.core.data.part import Part
from paribus.core.data.prepared import Data, prepare
from paribus.core.data.source import Source, load
from paribus.core.data.standardize import standardized

__all__ = ["Data", "Part", "Source", "load", "prepare", "standardized"]
