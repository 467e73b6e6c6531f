from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.metadata import version
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from paribus.core.errors import RequestError
from paribus.core.sources.import_closure import ImportClosure, Sources, tree_digest
from paribus.core.sources.module_finder import Finder, distribution_of

MINE = '''"""The question."""
import math
import torch
from torch import nn
from helpers import block, other

WIDTH = 3
DEPTH, GAIN = 2, math.sqrt(2)
LEVELS = [1, 2]
MORE_LEVELS = LEVELS + list(range(3))
SCALES = {"a": 1}
SCALES["b"] = 2
UNUSED = 4
BASELINE = {"model": {"name": "Net"}}
AXES = {"model.width": LEVELS}
AXES["model.depth"] = MORE_LEVELS


class Base(nn.Module):
    """Common part."""

    shift = 0


def scale(x, by=WIDTH):
    # a remark
    return x * by


def size() -> int:
    from more import count

    return count()


class Net(Base):
    """A net."""

    def forward(self, x, gain=GAIN):
        """Does it."""
        print(x)
        inner = block(scale(x)) * SCALES["b"]
        return inner + size()


def unrelated(x):
    WIDTH = x
    return WIDTH


torch.set_num_threads(1)
print("read", UNUSED)
if __name__ == "__main__":
    print(Net())
'''
HELPERS = "K = 1\n\ndef block(x):\n    return x + K\n\ndef other(x):\n    return x\n"
MORE = "def count():\n    return 5\n"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return write(tmp_path / "exp", {"mine.py": MINE, "helpers.py": HELPERS, "more.py": MORE})


def write(folder: Path, files: dict[str, str]) -> Path:
    """Writes files; the path of the first."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / next(iter(files))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def trace(file: Path) -> Sources:
    """Returns what an experiment's file depends on."""
    closure = ImportClosure.beside(file, {})
    closure.add_experiment(file)
    return closure.sources()


def trace_module(*dotted: str) -> Sources:
    closure = ImportClosure(Finder())
    closure.add(dotted)
    return closure.sources()


UNSEEN = [
    ("mine.py", "# a remark", "# another\n"),
    ("mine.py", "The question.", "Another question."),
    ("mine.py", "Does it.", "Does it well."),
    ("mine.py", "Common part.", "The common part."),
    ("mine.py", '"name": "Net"', '"name": "Other"'),
    ("mine.py", "LEVELS = [1, 2]", "LEVELS = [1, 2, 3]"),
    ("mine.py", "range(3)", "range(4)"),
    ("mine.py", '"model.depth"]', '"model.height"]'),
    ("mine.py", "print(Net())", "print(Net(3))"),
    ("mine.py", "return x * by", "return (\n        x *\n        by\n    )"),
    ("mine.py", '"a": 1', "'a': 0x1,"),
    ("more.py", "def count", "# how many\ndef count"),
    ("more.py", "def count():", 'def count():\n    "How many."\n    pass\n'),
]
SEEN = {
    "the object": ("mine.py", "inner + size()", "inner - size()"),
    "a function it uses": ("mine.py", "x * by", "x / by"),
    "a constant in a default of a helper": ("mine.py", "WIDTH = 3", "WIDTH = 4"),
    "a constant in a tuple": ("mine.py", "DEPTH, GAIN = 2", "DEPTH, GAIN = 3"),
    "its default": ("mine.py", "gain=GAIN", "gain=1"),
    "a base class": ("mine.py", "shift = 0", "shift = 1"),
    "an item set later": ("mine.py", 'SCALES["b"] = 2', 'SCALES["b"] = 3'),
    "the import it uses": (
        "mine.py",
        "helpers import block, other",
        "helpers import other as block",
    ),
    "a helper from beside": ("helpers.py", "x + K", "x - K"),
    "a constant of that": ("helpers.py", "K = 1", "K = 1.0"),
    "an import inside a function": ("more.py", "5", "6"),
    "an annotation": ("mine.py", "def size() -> int", "def size() -> float"),
    "a constant's sign": ("mine.py", '"a": 1', '"a": -1'),
    "a constant that is printed": ("mine.py", "UNUSED = 4", "UNUSED = 5"),
    "a statement with effects": ("mine.py", "set_num_threads(1)", "set_num_threads(2)"),
    "a function that nothing names": ("mine.py", "WIDTH = x\n", "WIDTH = x + 1\n"),
    "such a function of a helper": ("helpers.py", "return x\n", "return 2 * x\n"),
}


@pytest.mark.parametrize("change", UNSEEN, ids=lambda change: change[1][:20])
def test_edits_that_keep_the_digest(mine: Path, change: tuple[str, str, str]):
    before = trace(mine).digests
    edit(mine.parent / change[0], *change[1:])
    assert trace(mine).digests == before


@pytest.mark.parametrize("change", SEEN.values(), ids=SEEN)
def test_edits_that_change_the_digest(mine: Path, change: tuple[str, str, str]):
    before = trace(mine).digests
    edit(mine.parent / change[0], *change[1:])
    assert trace(mine).digests != before


# A use of LEVELS by which editing it counts.
USES = {
    "name": "def f(): return LEVELS",
    "attribute of itself": "import mine\nprint(mine.LEVELS)",
    "globals": "def f(name): return globals()[name]",
    "vars": "def f(name): return vars()[name]",
    "sys.modules": "import sys\ndef f(n): return getattr(sys.modules[__name__], n)",
    "eval": "def f(name): return eval(name)",
    "__globals__": "def f(g, name): return g.__globals__[name]",
    "a frame": "import sys\ndef f(name): return sys._getframe().f_globals[name]",
    "getmodule": "import inspect\ndef f(n): return getattr(inspect.getmodule(f), n)",
    "import_module": "from importlib import import_module\ndef f(): return import_module(__name__)",
    "a loop": "for n in LEVELS: pass",
    "a function that fills": "def f(): LEVELS.append(3)",
    "a declaration": "def f():\n    global LEVELS\n    LEVELS = 3",
    "the baseline itself": "def f(): return BASELINE",
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_constant_that_may_be_used_elsewhere_counts(tmp_path: Path, use: str):
    text = f"LEVELS = [7]\nBASELINE = dict(x=LEVELS)\n{use}\n"
    file = write(tmp_path, {"mine.py": text})
    before = trace(file).digests
    edit(file, "7", "8")
    assert trace(file).digests != before


def test_modules_of_a_net_are_no_modules_of_the_process(tmp_path: Path):
    text = "LEVELS = [7]\nAXES = dict(x=LEVELS)\ndef f(net): return list(net.modules())\n"
    file = write(tmp_path, {"mine.py": text})
    before = trace(file).digests
    edit(file, "7", "8")
    assert trace(file).digests == before


# What stands above `AXES = {"a": LEVELS}`, or takes its place: editing its 7 counts, or not.
FILLED = {
    "LEVELS = np.logspace(-7, -1, 4).tolist()": False,
    "LEVELS = sorted(2**n for n in range(7))": False,
    "LEVELS = [math.sqrt(7) / math.pi]": False,
    "SMALL = 7\nLEVELS = [SMALL, 2 * SMALL]": False,
    "FIRST, LEVELS = 7, [1]": False,
    "LEVELS = []\nLEVELS.append(7)\nLEVELS += [1]": False,
    "LEVELS = []\nfor x, k in enumerate((7, 8)):\n    if k > 7: LEVELS.append(k)": False,
    "LEVELS = [1]\nfor x in Net.sizes: AXES[x] = Net.levels(x, 7)": False,
    "LEVELS = [1]\nif True:\n    AXES.update(more=levels(7))\nelse:\n    AXES['k'] = [7]": False,
    "LEVELS = [1]\nSELECT = {'metric': make(7)}": False,
    "LEVELS = levels(7)": True,
    "LEVELS = Net.levels(7)": True,
    "LEVELS = [setattr(Net, 'k', 7) or 1]": True,
    "LEVELS = [1]\nAXES['c'] = [setattr(Net, 'k', 7) or 1]": True,
    "LEVELS = [K := 7]\ndef f(): return K": True,
    "LEVELS = [1]\nAXES['c'] = [K := 7]\ndef f(): return K": True,
    "LEVELS = [1]\nNet.k = 7": True,
    "LEVELS = [Net]\nNet.k = 7": True,
    "LEVELS = [1]\nBASELINE = dict(model=Net)\nNet.k = 7": True,
    "LEVELS = [1]\nBASELINE = dict(model=Net)\nNet = make(7)": True,
    "LEVELS = [1]\nBASELINE = dict(loss=loss)\nloss = lambda o, t: o - 7 * t": True,
    "LEVELS = [1]\nBASELINE = dict(loss=loss)\nloss = Net.losses[7]": True,
    "LEVELS = [1]\nfor k in (7, 8): AXES[k] = [k]; Net.k = k": True,
    "LEVELS = [1]\nfor k in (7, 8): AXES[k] = [k]\ndef f(): return k": True,
    "LEVELS = [1]\nUNUSED = 7": True,
    "LEVELS = [1]\nnp.random.seed(7)": True,
    "LEVELS = [1]\ntry: AXES['k'] = [7]\nexcept ValueError: pass": True,
}


@pytest.mark.parametrize(("text", "counts"), FILLED.items(), ids=FILLED)
def test_what_only_the_configuration_uses_counts_by_its_value(
    tmp_path: Path, text: str, counts: bool
):
    head = "import math\nimport numpy as np\nclass Net:\n    x = 1\n"
    local = "def forward(x, k):\n    for LEVEL in x: pass\n    return [k for k in x]\n"
    file = write(tmp_path, {"mine.py": f"{head}{local}AXES = {{}}\n{text}\nAXES['a'] = LEVELS\n"})
    before = trace(file).digests
    edit(file, "7", "6")
    assert (trace(file).digests != before) is counts


# The experiment's text, and the other files, of which those with a 7 are edited.
IMPORTS = {
    "inside a function": ("def x():\n    import a", {"a.py": "g = 7"}),
    "inside a method": ("class X:\n    def x(self):\n        from a import g", {"a.py": "g = 7"}),
    "whole module": ("import a\nx = a.f", {"a.py": "f = 1\ng = 7"}),
    "whole module as": ("import a as b\nx = b.f", {"a.py": "f = 1\ng = 7"}),
    "one name": ("from a import f as x", {"a.py": "f = 1\ng = 7"}),
    "unused import": ("import a\nx = 1", {"a.py": "g = 7"}),
    "module's import": ("import a\nx = a", {"a.py": "import b", "b.py": "g = 7"}),
    "star": ("from a import *\nx = f", {"a.py": "f = 1\ng = 7"}),
    "submodule": ("import p.a\nx = p.a.f", {"p/__init__.py": "", "p/a.py": "f = 7"}),
    "package": ("import p.a\nx = p.f", {"p/__init__.py": "f = 7", "p/a.py": ""}),
    "submodule by from": (
        "from p import a\nx = a.f",
        {"p/__init__.py": "", "p/a.py": "f = 7"},
    ),
    "own submodule": (
        "from p import a\nx = a.f",
        {"p/__init__.py": "from . import a", "p/a.py": "f = 7"},
    ),
    "re-export": (
        "from p import f as x",
        {"p/__init__.py": "from .a import f", "p/a.py": "f = 7"},
    ),
    "not re-exported": (
        "from p import f as x",
        {"p/__init__.py": "from .a import f, g", "p/a.py": "f = 1\ng = 7"},
    ),
    "star re-export": (
        "from p import f as x",
        {"p/__init__.py": "from .a import *", "p/a.py": "f = 7"},
    ),
    "name like its module": (
        "from p import a as x",
        {"p/__init__.py": "from .a import a", "p/a.py": "a = 7\nb = 1"},
    ),
    "lazy": (
        "from p import f as x",
        {"p/__init__.py": "def __getattr__(name): return 7"},
    ),
    "relative": (
        "from p.q.a import f as x",
        {
            "p/__init__.py": "",
            "p/q/__init__.py": "",
            "p/q/a.py": "from ..b import g\ndef f(): return g",
            "p/b.py": "g = 7",
        },
    ),
    "namespace": ("from n.m import a\nx = a.f", {"n/m/a.py": "f = 7"}),
    "in a try": (
        "try:\n    from a import f\nexcept ImportError:\n    f = None\nx = f",
        {"a.py": "f = 7"},
    ),
    "cycle": (
        "import a\ny = 1\ndef x(): return a.f()",
        {"a.py": "import mine\nimport b\ndef f(): return b", "b.py": "import a\ng = 7"},
    ),
}


@pytest.mark.parametrize("case", IMPORTS.values(), ids=IMPORTS)
def test_imports(tmp_path: Path, case: tuple[str, dict[str, str]]):
    text, others = case
    file = write(tmp_path, {"mine.py": text, **others})
    before = trace(file).digests
    for name, other in others.items():
        (tmp_path / name).write_text(other.replace("7", "8"))
    assert trace(file).digests != before


def test_a_helper_that_imports_the_experiment(tmp_path: Path):
    helper = "from mine import y, BASELINE\ndef f(): return y, BASELINE"
    text = "from a import f\ny = 1\nBASELINE = 5\ndef x(): return f()"
    file = write(tmp_path, {"mine.py": text, "a.py": helper})
    before = trace(file)
    assert list(before.files) == ["a.py", "mine.py"]
    assert list(before.digests) == ["a", "mine", "mine.py"]  # as a module it counts whole
    edit(file, "BASELINE = 5", "BASELINE = 6")
    after = trace(file).digests
    assert after["mine.py"] == before.digests["mine.py"]
    assert after["mine"] != before.digests["mine"]


def test_relative_imports_of_an_experiment_in_a_package(tmp_path: Path):
    files = {"p/mine.py": "from .a import f as x", "p/__init__.py": "", "p/a.py": "f = 7"}
    file = write(tmp_path, files)
    before = trace(file)
    assert list(before.files) == ["mine.py", "p/__init__.py", "p/a.py"]
    edit(file.with_name("a.py"), "7", "8")
    assert trace(file).digests != before.digests


def test_the_folder_and_modules_imported_before_do_not_count(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = {"mine.py": MINE, "helpers.py": HELPERS, "more.py": MORE}
    other = write(tmp_path / "elsewhere", files)
    monkeypatch.setitem(sys.modules, "helpers", pytest)
    assert trace(mine).digests == trace(other).digests


def test_files_are_all_that_an_import_needs(tmp_path: Path):
    files = {
        "mine.py": "from p.a import f as x\nimport spare",
        "p/__init__.py": "from .b import g",
        "p/a.py": "f = 1",
        "p/b.py": "g = 1",
        "spare.py": "import torch, os, paribus.core.errors, sklearn, nowhere",
        "unused.py": "",
    }
    file = write(tmp_path, files)
    found = trace(file)
    wanted = sorted(files.keys() - {"unused.py"})
    assert found.files == {name: tmp_path / name for name in wanted}
    assert list(found.files) == wanted
    assert found.distributions == {"sklearn": distribution_of("sklearn")}
    assert list(found.digests) == ["mine.py", "p", "p.a", "p.b", "spare"]


def test_nothing_is_executed(tmp_path: Path):
    file = write(
        tmp_path,
        {
            "mine.py": "import p.a\nx = p.a\nraise SystemExit",
            "p/__init__.py": "raise SystemExit",
            "p/a.py": "raise SystemExit",
        },
    )
    assert trace(file).digests
    assert "p" not in sys.modules


def test_other_files_count_by_their_bytes(tmp_path: Path):
    suffix = EXTENSION_SUFFIXES[0]
    file = write(tmp_path, {"mine.py": "from fast import f as x", f"fast{suffix}": "one"})
    before = trace(file)
    assert list(before.files) == [f"fast{suffix}", "mine.py"]
    write(tmp_path, {f"fast{suffix}": "two"})
    assert trace(file).digests != before.digests


def test_distributions_are_those_used(tmp_path: Path):
    text = (
        "import os, torch, numpy as np\nfrom sklearn.linear_model import Ridge\nimport yaml\n"
        "from paribus.core.errors import shown\n"
        "def x():\n    import torchvision.models as m\n    return Ridge, os, torch, np, m, shown\n"
    )
    found = trace(write(tmp_path, {"mine.py": text}))
    assert list(found.distributions) == ["sklearn", "torchvision", "yaml"]
    assert found.distributions["sklearn"].startswith(f"{version('scikit-learn')}, files ")
    assert list(found.files) == ["mine.py"]


@pytest.mark.parametrize(
    ("dotted", "distribution"),
    [
        ("torch.optim.RAdam", None),
        ("math.sqrt", None),
        ("paribus.core.errors.shown", None),
        ("nowhere.at.all", None),
        ("sklearn.linear_model.Ridge", "sklearn"),
        ("PIL.Image", "PIL"),
    ],
)
def test_dotted_paths_outside_the_users_source(dotted: str, distribution: str | None):
    names = [distribution] if distribution else []
    assert trace_module(dotted) == Sources(distributions={n: distribution_of(n) for n in names})


def test_a_dotted_path_into_the_users_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = {
        "mypackage/__init__.py": "from .nets import Net\nimport sklearn",
        "mypackage/nets.py": "from sklearn import svm\nclass Net:\n    a = svm\nz = 1",
    }
    write(tmp_path, files)
    monkeypatch.syspath_prepend(tmp_path)
    first, again = trace_module("mypackage.nets.Net"), trace_module("mypackage.Net")
    assert first == again
    assert list(first.digests) == ["mypackage", "mypackage.nets"]
    assert list(first.files) == list(files)
    assert list(first.distributions) == ["sklearn"]
    edit(tmp_path / "mypackage/nets.py", "z = 1", "z = 2")
    assert trace_module("mypackage.nets.Net").digests != first.digests


def test_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, {"editable_one/__init__.py": ""})
    monkeypatch.syspath_prepend(tmp_path)
    repository = Path(__file__).parents[3]
    elsewhere = [path for path in sys.path if Path(path).resolve() != repository]
    monkeypatch.setattr(sys, "path", elsewhere)
    wanted = {
        "os.path": "stdlib",
        "sys": "stdlib",
        "test.support": "stdlib",
        "torch.nn": "installed",
        "sklearn.nothing": "installed",
        "paribus.core.errors": "own",
        "sweeps": "user",
        "editable_one": "user",
        "nowhere": "user",
    }
    assert {name: Finder().owner(name) for name in wanted} == wanted
    monkeypatch.setattr(sys, "path", [*elsewhere, str(repository)])
    assert (Finder().owner("sweeps.api"), Finder().owner("tests")) == ("own", "user")


def test_an_editable_install_by_an_import_hook_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = write(tmp_path, {"src/__init__.py": "", "src/nets.py": "Net = 1"})

    class Hook:  # as setuptools writes it where the folder is not called like the package
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
            return spec_from_file_location(name, file) if name == "editable_two" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Hook])
    found = trace_module("editable_two.nets.Net")
    assert list(found.digests) == ["editable_two", "editable_two.nets"]
    assert found.files["editable_two/nets.py"] == tmp_path / "src/nets.py"


def test_a_file_in_site_packages_without_distribution_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path, {"loose_module.py": "x = 1"})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("paribus.core.sources.module_finder.site_folders", lambda: [str(tmp_path)])
    assert Finder().owner("loose_module") == "user"
    assert list(trace_module("loose_module.x").digests) == ["loose_module"]


def test_a_module_that_cannot_be_parsed_counts_by_its_bytes(mine: Path):
    path = mine.with_name("helpers.py")  # it may never be imported: `if sys.version_info < (3,)`
    path.write_text("print 7")
    before = trace(mine).digests
    edit(path, "7", "8")
    assert trace(mine).digests["helpers"] != before["helpers"]


def test_another_environment_on_the_path_is_installed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "site-packages"
    information = folder / "faraway-1.2.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: faraway\nVersion: 1.2\n")
    (folder / "faraway.py").write_text("x = 1")
    monkeypatch.syspath_prepend(folder)
    assert Finder().owner("faraway") == "installed"
    assert trace_module("faraway.x").distributions == {"faraway": "1.2"}  # it has no RECORD


RECORD = "mine/nets.py,sha256=AAAA,10\nmine/__pycache__/nets.cpython-311.pyc,,\n"


@pytest.mark.parametrize(
    ("lines", "same"),
    [
        ("mine-1.0.dist-info/direct_url.json,sha256=CCCC,9\n", True),
        ("../../../bin/mine,sha256=DDDD,200\n", True),
        ("mine/more.py,sha256=EEEE,10\n", False),
    ],
    ids=["where it came from", "where it was put", "a file"],
)
def test_a_distribution_counts_by_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, same: bool
):
    found = []
    for number, record in enumerate((RECORD, RECORD + lines)):
        folder = tmp_path / str(number) / "site-packages"
        information = folder / f"reinstalled{number}{same}-1.0.dist-info"
        information.mkdir(parents=True)
        name = f"Name: reinstalled{number}{same}\nVersion: 1.0\n"
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\n{name}")
        (information / "RECORD").write_text(record)
        monkeypatch.syspath_prepend(folder)
        found.append(distribution_of(f"reinstalled{number}{same}"))
    assert (found[0] == found[1]) == same


def test_a_missing_file(tmp_path: Path):
    deep = tmp_path / "a long name" / ("x" * 80) / "none.py"
    with pytest.raises(RequestError, match=r"none\.py cannot be read: No such file"):
        trace(deep)


def test_tree_digest():
    text = '"""Doc."""\nx = 1  # one\n\n\ndef f():\n    """Doc."""\n    return x\n'
    assert tree_digest(text) == tree_digest("x=1\ndef f(): return (x)")
    assert tree_digest(text) != tree_digest(text.replace("1", "2"))
    assert tree_digest("x = None") != tree_digest("x: None")
    assert tree_digest("f(1)") != tree_digest("f(True)") != tree_digest("f('1')")
