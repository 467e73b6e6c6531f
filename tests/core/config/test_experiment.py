"""An experiment file is run and validated; whatever is wrong with it is said with file and line."""

import os
import py_compile
import sys

import pytest
from small_experiment import SMALL

from paribus.core.config.experiment import catalogue, find_experiment, load_experiment
from paribus.core.errors import RequestError
from paribus.core.training.resolve import Resolver


def load(tmp_path, text, name="mine.py"):
    path = tmp_path / name
    path.write_text(text)
    return load_experiment(path)


def refused(tmp_path, text):
    with pytest.raises(RequestError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def changed(key, value):
    return f"{SMALL}\nBASELINE = {{**BASELINE, {key!r}: {value}}}\n"


def test_what_a_file_defines(tmp_path):
    found = load(tmp_path, SMALL)
    assert found.name == "mine"
    assert found.question == "Can a small net tell three kinds of waves apart?"
    assert found.baseline.data.name == "mine.py:waves"
    assert found.baseline.model.keywords == {"hidden_dim": 8}
    assert found.axes == {
        "optimizer.lr": [0.001, 0.1],
        "loss": [{"name": "cross_entropy"}, {"name": "mine.py:soft"}],
    }


def test_without_a_docstring_there_is_no_question(tmp_path):
    assert load(tmp_path, SMALL.partition('"""\n\n')[2]).question == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ndef (:\n", "mine.py, line 2: invalid syntax."),
        ("x = 1\n\n1 / 0\n", "mine.py, line 3: ZeroDivisionError: division by zero"),
        ("def f():\n    return {}['a']\n\n\nf()\n", "mine.py, line 2: KeyError: 'a'"),
        ("import nosuchmodule\n", "mine.py, line 1: ModuleNotFoundError: No module named"),
        ("import sys\nsys.exit(3)\n", "mine.py, line 2: SystemExit: 3"),
        ("x = '\0'\n", "source code string cannot contain null bytes"),  # 3.11.2: a ValueError
        ("x = 1\n", "mine.py defines no BASELINE. BASELINE is a dict with"),
        ("BASELINE = 3\n", "mine.py defines no BASELINE."),
        ("BASELINE = {}\n", "mine.py: 'task' is missing."),
        (f"{SMALL}\nSELECT = {{}}\n", "mine.py: SELECT belongs to a function train, and this file"),
        (f"{SMALL}\nAXES = [1]\n", "mine.py: AXES is not a dict"),
        (f"{SMALL}\nAXES = None\n", "mine.py: AXES is not a dict"),
        (f"{SMALL}\nAXES = {{'optimizer.lr': 0.1}}\n", "AXES optimizer.lr is not a list of levels"),
        (f"{SMALL}\nAXES = {{'loss': soft}}\n", "mine.py: AXES loss is not a list of levels"),
        (f"{SMALL}\nAXES = {{'loss': {{'name': 'l1'}}}}\n", "AXES loss is not a list of levels"),
        (f"{SMALL}\nAXES = {{'loss': [lambda o, t: 0]}}\n", "AXES loss: <lambda> has no name"),
        (f"{SMALL}\nAXES = {{'model.width': [{{1}}]}}\n", "AXES model.width: {1} is not a number"),
        (changed("loss", "lambda o, t: (o - t).sum()"), "mine.py: loss: <lambda> has no name"),
        (changed("loss", "nn.CrossEntropyLoss()"), "mine.py: loss: CrossEntropyLoss() has no name"),
        (changed("loss", "(lambda: (lambda o, t: o))()"), "has no name at the top level of a file"),
        (changed("loss", "None"), "mine.py: loss: None has no name"),
        (changed("loss", "3"), "mine.py: loss: 3 has no name"),
        (changed("model", "[Net]"), "mine.py: model: [<class"),
        (changed("model", "''"), "mine.py: model: '' is not a component."),
        (changed("model", "{'hidden_dim': 3}"), "'model.name' is missing"),
        (changed("model", "{'name': Net, 'width': nn.ReLU}"), "model.width: <class"),
        (changed("modle", "Net"), "Did you mean 'model'?"),
    ],
)
def test_refused_with_the_place(text, words, tmp_path):
    found = refused(tmp_path, text)
    assert words in found
    assert "Traceback" not in found


def test_objects_without_a_name_come_with_the_remedy(tmp_path):
    assert "Define it there with def or class" in refused(
        tmp_path, changed("loss", "lambda o, t: 0")
    )


def test_an_error_in_an_imported_file_names_that_file(tmp_path):
    (tmp_path / "broken_import_of_mine.py").write_text("x = 1\n\n\ndef (:\n")
    found = refused(tmp_path, "import broken_import_of_mine\n")
    assert found == "broken_import_of_mine.py, line 4: invalid syntax."


def test_all_faults_of_a_file_come_together(tmp_path):
    text = changed("device", "'gpu'") + "BASELINE |= {'split': {'seed': -1}, 'modle': 3}\n"
    found = refused(tmp_path, text)
    assert all(word in found for word in ("device=gpu", "split.seed=-1", "modle"))


@pytest.mark.parametrize(
    ("value", "name", "keywords"),
    [
        ("Net", "mine.py:Net", {}),
        ("'Net(width=7)'", "Net", {"width": 7}),
        ("{'name': Net, 'width': 7}", "mine.py:Net", {"width": 7}),
        ("nn.Linear", "torch.nn.Linear", {}),
    ],
)
def test_components_by_object_word_or_dict(value, name, keywords, tmp_path):
    found = load(tmp_path, changed("model", value))
    assert (found.baseline.model.name, found.baseline.model.keywords) == (name, keywords)
    Resolver(found).specify(found.baseline, 0)


def test_numbers_of_numpy_are_numbers(tmp_path):
    more = changed("optimizer", "{'name': 'sgd', 'lr': np.float32(0.5)}")
    axes = "AXES = {'optimizer.lr': np.logspace(-2, -1, 2), 'model.hidden_dim': range(2, 4)}\n"
    found = load(tmp_path, f"import numpy as np\n{more}{axes}")
    assert repr(found.baseline.optimizer.keywords) == "{'lr': 0.5}"
    assert repr(found.axes) == "{'optimizer.lr': [0.01, 0.1], 'model.hidden_dim': [2, 3]}"


def test_levels_as_text_stay_text(tmp_path):
    found = load(
        tmp_path, f"{SMALL}\nAXES = {{'optimizer.lr': '1e-4:1e-1:log:3', 'loss': 'l1,mse'}}\n"
    )
    assert found.axes == {"optimizer.lr": "1e-4:1e-1:log:3", "loss": "l1,mse"}


BY_PATH = """
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

spec = spec_from_file_location("by_path", Path(__file__).with_name("old_nets.py"))
module = module_from_spec(spec)
spec.loader.exec_module(module)
FACTOR = module.FACTOR
"""


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("old_nets.py", "from old_nets import FACTOR"),
        ("old_nets.py", BY_PATH),
        ("old_package/__init__.py", "from old_package import FACTOR"),
        ("old_space/nets.py", "from old_space.nets import FACTOR"),
        ("mine.py", "FACTOR = 1.0"),
    ],
    ids=["module", "by path", "package", "namespace package", "experiment"],
)
def test_byte_code_of_an_earlier_text_is_not_used(file, text, tmp_path):
    (tmp_path / "mine.py").write_text(f"{text}\n{SMALL}")
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(path.read_text() if path.is_file() else "FACTOR = 1.0")
    py_compile.compile(path)
    before = path.stat()
    path.write_text(path.read_text().replace("1.0", "3.0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as rsync -t and cp -p
    assert load_experiment(tmp_path / "mine.py").objects["FACTOR"] == 3.0


def test_the_folder_of_a_file_comes_last_on_the_import_path(tmp_path):
    (tmp_path / "json.py").write_text("raise RuntimeError('a user file hides a module')\n")
    load(tmp_path, f"import json\n{SMALL}")
    assert sys.path.index(str(tmp_path)) > 0
    assert sys.path[0] != str(tmp_path)


def test_the_catalogue():
    names = catalogue()
    assert {"digits", "line"} <= set(names)
    assert list(names) == sorted(names)
    for name, path in names.items():
        found = load_experiment(path)
        assert (found.name, find_experiment(name)) == (name, path)
        assert found.question.endswith("?")
        assert found.axes


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digts", "Did you mean 'digits'?"),
        ("digits.py", "Did you mean 'digits'?"),
        ("zzz", "The path of a .py file or a run is valid too."),
        ("nothere.py", "There is no file 'nothere.py'."),
        ("\0.py", "There is no file"),
        ("~nobody-of-this-name/x.py", "There is no file"),
        ("x" * 5000 + ".py", "There is no file"),
        ("", "There is no experiment ''."),
    ],
)
def test_experiments_that_are_not_found(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError) as caught:
        find_experiment(name)
    assert words in str(caught.value)


def test_files_are_found_from_the_current_and_the_home_folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_experiment("mine.py") == find_experiment("~/mine.py") == tmp_path / "mine.py"
