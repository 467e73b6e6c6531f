"""Designs: which settings to train next, with which seeds, given what has been found."""

from paribus.sweeps.designs.design import Design, Values, Wanted
from paribus.sweeps.designs.one_at_a_time import OneAtATime
from paribus.sweeps.designs.until_decided import UntilDecided

__all__ = ["Design", "OneAtATime", "UntilDecided", "Values", "Wanted"]
