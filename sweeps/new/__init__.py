"""`paribus new`: from data to an experiment file that works as it is.

`find` looks at the data (`tables`, `images`), `guess` decides the task by the targets, `page` is
the file's text; `write` tries it on the data before it is written.
"""

from paribus.sweeps.new.write import Written, write_experiment

__all__ = ["Written", "write_experiment"]
