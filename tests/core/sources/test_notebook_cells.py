"""A class of a script or cell is written as it is: one that was changed from outside is refused."""

import subprocess
import sys

import pytest

NET = """
import contextlib, functools, sys
from pathlib import Path
from paribus.core.sources.cells import write_cells

def timed(function):
    def inner(self, x):
        return function(self, x)
    return inner

def like(function):
    return functools.wraps(function)(lambda self, x: function(self, x) * 2)

def negative(self, x):
    return -x

class Net:
    act = lambda self, x: x
    minus = negative
    def __init__(self): self.k = 1
    if True:
        def maybe(self): return 1
    def forward(self, x):
        return x
    @timed
    def slow(self, x):
        return x

{more}
print(write_cells(Net, Path(sys.argv[1])))
"""
PATCHES = {
    "nothing": ("", None),
    "a constant": ("Net.k = 3", None),
    "another forward": ("Net.forward = negative", "forward"),
    "another __init__": ("def init(self): pass\nNet.__init__ = init", "__init__"),
    "a wrapped forward": ("Net.forward = like(Net.forward)", "forward"),
    "a lambda": ("Net.forward = lambda self, x: 2 * x", "forward"),
    "one more": ("def more(self, x): return x\nNet.more = more", "more"),
}


@pytest.mark.parametrize(("patch", "name"), PATCHES.values(), ids=PATCHES)
def test_a_class_whose_functions_were_replaced_is_refused(patch, name, tmp_path):
    file = tmp_path / "script.py"
    file.write_text(NET.format(more=patch))
    done = subprocess.run([sys.executable, file, tmp_path], capture_output=True, text=True)
    if name is None:
        assert done.stdout.startswith("notebook_"), done.stderr
    else:
        assert f"'Net.{name}' was put into the class after its definition." in done.stderr
