"""Designs: which settings to train next, with which seeds, given what has been found."""

from sweeps.designs.design import Design, Values, Wanted
from sweeps.designs.one_at_a_time import OneAtATime
from sweeps.designs.until_decided import UntilDecided

__all__ = ["Design", "OneAtATime", "UntilDecided", "Values", "Wanted"]
