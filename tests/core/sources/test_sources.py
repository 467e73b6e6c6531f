from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.metadata import version
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from paribus.core.errors import RequestError
from paribus.core.sources.source_hash import (
    Sources,
    owner,
    trace_file,
    trace_module,
    tree_digest,
)

MINE = '''"""The question."""
import math
import torch
from torch import nn
from helpers import block, other

WIDTH = 3
DEPTH, GAIN = 2, math.sqrt(2)
SCALES = {"a": 1}
SCALES["b"] = 2
UNUSED = 4
BASELINE = {"model": {"name": "Net"}}
AXES = {"model.width": [1, 2]}


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


def digest(file: Path, name: str = "Net") -> str:
    return trace_file(file, [name]).digests[f"{file.name}:{name}"]


UNSEEN = [
    ("mine.py", "# a remark", "# another\n"),
    ("mine.py", "The question.", "Another question."),
    ("mine.py", "Does it.", "Does it well."),
    ("mine.py", "Common part.", "The common part."),
    ("mine.py", '"name": "Net"', '"name": "Other"'),
    ("mine.py", "[1, 2]", "[1, 2, 3]"),
    ("mine.py", "UNUSED = 4", "UNUSED = 5"),
    ("mine.py", 'print("read", UNUSED)', "AXES.update(net=Net)"),
    ("mine.py", "WIDTH = x\n", "WIDTH = x + 1\n"),
    ("mine.py", "print(Net())", "print(Net(3))"),
    ("mine.py", "import block, other", "import block"),
    ("mine.py", "return x * by", "return (\n        x *\n        by\n    )"),
    ("mine.py", '"a": 1', "'a': 0x1,"),
    ("helpers.py", "return x\n", "return 2 * x\n"),
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
}


@pytest.mark.parametrize("change", UNSEEN, ids=lambda change: change[1][:20])
def test_edits_that_keep_the_digest(mine: Path, change: tuple[str, str, str]):
    before = digest(mine)
    edit(mine.parent / change[0], *change[1:])
    assert digest(mine) == before


@pytest.mark.parametrize("change", SEEN.values(), ids=SEEN)
def test_edits_that_change_the_digest(mine: Path, change: tuple[str, str, str]):
    before = digest(mine)
    edit(mine.parent / change[0], *change[1:])
    assert digest(mine) != before


# What an object `x` of mine.py uses, and the edit of a helper's file that must be noticed.
FORMS = {
    "annotated": ("A: int = 1\ndef x(): return A", "A: int = 1", "A: int = 2"),
    "augmented": ("A = [1]\nA += [2]\ndef x(): return A", "[2]", "[3]"),
    "appended": ("A = [1]\nA.append(2)\ndef x(): return A", "2", "3"),
    "changed by a call": ("A = [1]\nfill(A, 2)\ndef x(): return A", "2", "3"),
    "attribute": ("class A: pass\nA.b = 2\ndef x(): return A.b", "2", "3"),
    "starred": ("A, *B = 1, 2, 3\ndef x(): return B", "3", "4"),
    "if": ("if True:\n    A = 1\nelse:\n    A = 2\ndef x(): return A", "2", "3"),
    "try": ("try:\n    A = 1\nexcept E:\n    A = 2\ndef x(): return A", "2", "3"),
    "with": ("with f(2) as A: pass\ndef x(): return A", "2", "3"),
    "for": ("for A in (1, 2): B = A\ndef x(): return B", "2", "3"),
    "walrus": ("if (A := 2): pass\ndef x(): return A", "2", "3"),
    "defined twice": ("def A(): return 1\ndef A(): return 2\nx = A", "1", "3"),
    "decorator": ("def d(f): return 2\n@d\ndef x(): pass", "2", "3"),
    "keyword default": ("D = 2\ndef x(*, a=D): pass", "2", "3"),
    "annotation": ("D = 2\ndef x(a: D): pass", "2", "3"),
    "metaclass": ("class M(type): a = 2\nclass x(metaclass=M): pass", "2", "3"),
    "class body": ("w = 2\nclass x:\n    w = w", "w = 2", "w = 3"),
    "lambda": ("A = 2\nx = lambda: A", "2", "3"),
    "comprehension": ("A = 2\ndef x(): return [i for i in A]", "2", "3"),
    "nested function": ("A = 2\ndef x():\n    def y(): return A\n    return y", "2", "3"),
    "through another": ("A = 2\nB = A\ndef y(): return B\ndef x(): return y()", "2", "3"),
    "mutual": ("def x(): return y()\ndef y(): return x() or 2", "2", "3"),
    "f-string": ("A = 2\ndef x(): return f'{A}{\"\x01\"}'", "2", "3"),
    "global side effect": ("import torch\ntorch.set_x(2)\ndef x(): torch.add()", "2", "3"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_use(tmp_path: Path, form: tuple[str, str, str]):
    text, old, new = form
    file = write(tmp_path, {"mine.py": text + "\nz = 1\n"})
    before = digest(file, "x")
    edit(file, "z = 1", "z = 2")
    assert digest(file, "x") == before
    edit(file, old, new)
    assert digest(file, "x") != before


# The files (the first is the experiment, its object `x`), the one edited from 7 to 8, whether seen.
IMPORTS = {
    "whole module": ("import a\nx = a.f", {"a.py": "f = 1\ng = 7"}, True),
    "whole module as": ("import a as b\nx = b.f", {"a.py": "f = 1\ng = 7"}, True),
    "one name": ("from a import f as x", {"a.py": "f = 1\ng = 7"}, False),
    "unused import": ("import a\nx = 1", {"a.py": "g = 7"}, False),
    "unused in the module": ("import a\nx = a", {"a.py": "f = 1", "b.py": "g = 7"}, False),
    "module's import": ("import a\nx = a", {"a.py": "import b", "b.py": "g = 7"}, True),
    "star": ("from a import *\nx = f", {"a.py": "f = 1\ng = 7"}, True),
    "submodule": ("import p.a\nx = p.a.f", {"p/__init__.py": "", "p/a.py": "f = 7"}, True),
    "package": ("import p.a\nx = p.f", {"p/__init__.py": "f = 7", "p/a.py": ""}, True),
    "submodule by from": (
        "from p import a\nx = a.f",
        {"p/__init__.py": "", "p/a.py": "f = 7"},
        True,
    ),
    "own submodule": (
        "from p import a\nx = a.f",
        {"p/__init__.py": "from . import a", "p/a.py": "f = 7"},
        True,
    ),
    "re-export": (
        "from p import f as x",
        {"p/__init__.py": "from .a import f", "p/a.py": "f = 7"},
        True,
    ),
    "not re-exported": (
        "from p import f as x",
        {"p/__init__.py": "from .a import f, g", "p/a.py": "f = 1\ng = 7"},
        False,
    ),
    "star re-export": (
        "from p import f as x",
        {"p/__init__.py": "from .a import *", "p/a.py": "f = 7"},
        True,
    ),
    "name like its module": (
        "from p import a as x",
        {"p/__init__.py": "from .a import a", "p/a.py": "a = 7\nb = 1"},
        True,
    ),
    "lazy": (
        "from p import f as x",
        {"p/__init__.py": "def __getattr__(name): return 7"},
        True,
    ),
    "relative": (
        "from p.q.a import f as x",
        {
            "p/__init__.py": "",
            "p/q/__init__.py": "",
            "p/q/a.py": "from ..b import g\ndef f(): return g",
            "p/b.py": "g = 7",
        },
        True,
    ),
    "namespace": ("from n.m import a\nx = a.f", {"n/m/a.py": "f = 7"}, True),
    "in a try": (
        "try:\n    from a import f\nexcept ImportError:\n    f = None\nx = f",
        {"a.py": "f = 7"},
        True,
    ),
    "cycle": (
        "import a\ny = 1\ndef x(): return a.f()",
        {"a.py": "import mine\nimport b\ndef f(): return b", "b.py": "import a\ng = 7"},
        True,
    ),
}


@pytest.mark.parametrize("case", IMPORTS.values(), ids=IMPORTS)
def test_imports(tmp_path: Path, case: tuple[str, dict[str, str], bool]):
    text, others, seen = case
    file = write(tmp_path, {"mine.py": text, **others})
    before = digest(file, "x")
    for name, other in others.items():
        (tmp_path / name).write_text(other.replace("7", "8"))
    assert (digest(file, "x") != before) == seen


def test_a_helper_that_imports_the_experiment(tmp_path: Path):
    helper = "from mine import y, BASELINE\ndef f(): return y, BASELINE"
    text = "from a import f\ny = 1\nBASELINE = 5\ndef x(): return f()"
    file = write(tmp_path, {"mine.py": text, "a.py": helper})
    before = trace_file(file, ["x"])
    assert list(before.files) == ["a.py", "mine.py"]
    edit(file, "BASELINE = 5", "BASELINE = 6")
    assert trace_file(file, ["x"]).digests == before.digests
    edit(file, "y = 1", "y = 2")
    assert trace_file(file, ["x"]).digests != before.digests


def test_relative_imports_of_an_experiment_in_a_package(tmp_path: Path):
    files = {"p/mine.py": "from .a import f as x", "p/__init__.py": "", "p/a.py": "f = 7"}
    file = write(tmp_path, files)
    before = trace_file(file, ["x"])
    assert list(before.files) == ["mine.py", "p/__init__.py", "p/a.py"]
    edit(file.with_name("a.py"), "7", "8")
    assert trace_file(file, ["x"]).digests != before.digests


def test_the_folder_and_modules_imported_before_do_not_count(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = {"mine.py": MINE, "helpers.py": HELPERS, "more.py": MORE}
    other = write(tmp_path / "elsewhere", files)
    monkeypatch.setitem(sys.modules, "helpers", pytest)
    assert digest(mine) == digest(other)


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
    found = trace_file(file, ["x"])
    wanted = sorted(files.keys() - {"unused.py"})
    assert found.files == {name: tmp_path / name for name in wanted}
    assert list(found.files) == wanted
    assert found.distributions == {}  # x uses none
    assert list(found.digests) == ["mine.py:x"]


def test_nothing_is_executed(tmp_path: Path):
    file = write(
        tmp_path,
        {
            "mine.py": "import p.a\nx = p.a\nraise SystemExit",
            "p/__init__.py": "raise SystemExit",
            "p/a.py": "raise SystemExit",
        },
    )
    assert trace_file(file, ["x"]).digests
    assert "p" not in sys.modules


def test_other_files_count_by_their_bytes(tmp_path: Path):
    suffix = EXTENSION_SUFFIXES[0]
    file = write(tmp_path, {"mine.py": "from fast import f as x", f"fast{suffix}": "one"})
    before = trace_file(file, ["x"])
    assert list(before.files) == [f"fast{suffix}", "mine.py"]
    write(tmp_path, {f"fast{suffix}": "two"})
    assert trace_file(file, ["x"]).digests != before.digests


def test_distributions_are_those_used(tmp_path: Path):
    text = (
        "import os, torch, numpy as np\nfrom sklearn.linear_model import Ridge\nimport yaml\n"
        "from paribus.core.errors import shown\n"
        "def x():\n    import torchvision.models as m\n    return Ridge, os, torch, np, m, shown\n"
    )
    found = trace_file(write(tmp_path, {"mine.py": text}), ["x"])
    assert found.distributions == {
        "sklearn": version("scikit-learn"),
        "torchvision": version("torchvision"),
    }
    assert list(found.files) == ["mine.py"]


@pytest.mark.parametrize(
    ("dotted", "distributions"),
    [
        ("torch.optim.RAdam", {}),
        ("math.sqrt", {}),
        ("paribus.core.errors.shown", {}),
        ("nowhere.at.all", {}),
        ("sklearn.linear_model.Ridge", {"sklearn": version("scikit-learn")}),
        ("PIL.Image", {"PIL": version("pillow")}),
    ],
)
def test_dotted_paths_outside_the_users_source(dotted: str, distributions: dict[str, str]):
    assert trace_module(dotted) == Sources(distributions=distributions)


def test_a_dotted_path_into_the_users_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = {
        "mypackage/__init__.py": "from .nets import Net\nimport sklearn",
        "mypackage/nets.py": "from sklearn import svm\nclass Net:\n    a = svm\nz = 1",
    }
    write(tmp_path, files)
    monkeypatch.syspath_prepend(tmp_path)
    first, again = trace_module("mypackage.nets.Net"), trace_module("mypackage.Net")
    assert list(first.digests) == ["mypackage.nets:Net"]
    assert list(again.digests) == ["mypackage:Net"]
    assert list(first.files) == list(files)
    assert first.files == again.files
    assert first.distributions == {"sklearn": version("scikit-learn")}
    assert list(trace_module("mypackage.nets.Net.a").digests) == ["mypackage.nets:Net.a"]
    edit(tmp_path / "mypackage/nets.py", "z = 1", "z = 2")
    assert trace_module("mypackage.nets.Net") == first
    edit(tmp_path / "mypackage/nets.py", "a = svm", "b = svm")
    assert trace_module("mypackage.nets.Net").digests != first.digests
    assert trace_module("mypackage.Net").digests != again.digests
    with pytest.raises(RequestError, match=r"mypackage\.nets has no object named 'Ne'.*'Net'"):
        trace_module("mypackage.nets.Ne")


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
    assert {name: owner(name) for name in wanted} == wanted
    monkeypatch.setattr(sys, "path", [*elsewhere, str(repository)])
    assert (owner("sweeps.api"), owner("tests")) == ("own", "user")


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
    assert list(found.digests) == ["editable_two.nets:Net"]
    assert found.files["editable_two/nets.py"] == tmp_path / "src/nets.py"


def test_a_file_in_site_packages_without_distribution_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path, {"loose_module.py": "x = 1"})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("paribus.core.sources.module_finder._site_folders", lambda: [str(tmp_path)])
    assert owner("loose_module") == "user"
    assert list(trace_module("loose_module.x").digests) == ["loose_module:x"]


def test_unknown_names_are_reported_together(mine: Path):
    with pytest.raises(RequestError) as caught:
        trace_file(mine, ["Nett", "qqq", "BASELINE", "Net"])
    text = str(caught.value)
    assert len(caught.value.faults) == 3
    assert "mine.py has no object named 'Nett'. Did you mean 'Net'?" in text
    assert "'qqq'. Choose Base, DEPTH," in text
    assert "nn" not in text.split("Choose")[1]


@pytest.mark.parametrize("broken", ["mine.py", "helpers.py"])
def test_a_syntax_error_names_file_and_line(mine: Path, broken: str):
    path = mine.with_name(broken)
    path.write_text("\n" + path.read_text().replace("def ", "dev ", 1))
    line = 1 + next(i for i, text in enumerate(path.read_text().split("\n")) if "dev" in text)
    with pytest.raises(RequestError, match=rf"{broken}, line {line}: invalid syntax"):
        trace_file(mine, ["Net"])


def test_an_endless_sum_is_refused_by_name(mine: Path):
    mine.write_text(mine.read_text() + f"\nSUM = {' + '.join(['DEPTH'] * 2000)}\n")
    with pytest.raises(RequestError, match=r"mine\.py: an expression is nested too deeply"):
        trace_file(mine, ["SUM"])


def test_another_environment_on_the_path_is_installed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "site-packages"
    information = folder / "faraway-1.2.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: faraway\nVersion: 1.2\n")
    (folder / "faraway.py").write_text("x = 1")
    monkeypatch.syspath_prepend(folder)
    assert owner("faraway") == "installed"
    assert trace_module("faraway.x").distributions == {"faraway": "1.2"}


def test_a_missing_file(tmp_path: Path):
    deep = tmp_path / "a long name" / ("x" * 80) / "none.py"
    with pytest.raises(RequestError, match=r"none\.py cannot be read: No such file"):
        trace_file(deep, [])


def test_union():
    left = Sources({"b": "1"}, {"t": "1"}, {"b.py": Path("b.py")})
    right = Sources({"a": "2"}, {"s": "2"}, {"a.py": Path("a.py")})
    both = left | right
    assert list(both.digests) == ["a", "b"]
    assert both == right | left == both | Sources()
    assert list(both.files) == ["a.py", "b.py"]


def test_tree_digest():
    text = '"""Doc."""\nx = 1  # one\n\n\ndef f():\n    """Doc."""\n    return x\n'
    assert tree_digest(text) == tree_digest("x=1\ndef f(): return (x)")
    assert tree_digest(text) != tree_digest(text.replace("1", "2"))
    assert tree_digest("x = None") != tree_digest("x: None")
    assert tree_digest("f(1)") != tree_digest("f(True)") != tree_digest("f('1')")
