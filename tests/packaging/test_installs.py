"""paribus works however it was installed: wheel, sdist, editable, archive of the repository."""

import configparser
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from commands import clean_environment
from environments import install, make_environment

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("core", "experiments", "sweeps")
BUILD = "import sys, setuptools.build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def tracked_files():
    """What git tracks, as it is in the working tree: no build folder, no metadata of an install."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=REPOSITORY, capture_output=True, check=True).stdout
    names = [name for name in listed.decode().split("\0") if name]
    return [
        name for name in names if (REPOSITORY / name).is_file() or (REPOSITORY / name).is_symlink()
    ]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the repository, links and all."""
    folder = tmp_path_factory.mktemp("source") / "paribus-main"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in tracked_files():
            if not name.startswith(("tests/", "docs/", ".ci/")):
                archive.add(REPOSITORY / name, name, recursive=False)
    packed.seek(0)
    with tarfile.open(fileobj=packed) as archive:
        archive.extraction_filter = lambda member, _: member  # our own, links and all
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An environment with W&B's distribution `sweeps`, which has a package `sweeps`."""
    folder = tmp_path_factory.mktemp("environment")
    python = make_environment(folder)
    own = next((folder / "lib").glob("python*")) / "site-packages"
    (own / "sweeps").mkdir()
    (own / "sweeps" / "__init__.py").write_text("raise ImportError('the sweeps of W&B')\n")
    info = own / "sweeps-0.2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sweeps\nVersion: 0.2.0\n")
    (info / "top_level.txt").write_text("sweeps\n")
    (info / "RECORD").write_text("sweeps/__init__.py,,\n")
    return python


def built(source, what, folder):
    """A wheel or an sdist of the copy."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, what, str(folder)],
        cwd=source, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def as_archive(source, folder):
    """A zip file as GitHub serves it: a link is a file that holds its target."""
    file = folder / "main.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(source.rglob("*")):
            name = str(path.relative_to(source.parent))
            if path.is_symlink():
                archive.writestr(name, str(path.readlink()))
            elif path.is_file() and not any(parent.is_symlink() for parent in path.parents):
                archive.write(path, name)
    return file


def works(python, tmp_path, where):
    """Trains by the installed command; answers where its package lies."""
    environment = clean_environment(str(tmp_path))
    del environment["PYTHONPATH"]

    def ask(*words):
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    command = str(Path(python).parent / "paribus")
    words = ("run", "line", "train.epochs=1", "--no-wandb", "--json")
    assert json.loads(ask(command, *words))["status"] == "complete"
    modules = ("paribus", *(f"paribus.{room}" for room in ROOMS))
    script = f"import {', '.join(modules)}; print(paribus.core.__path__[0])"
    place = Path(ask(python, "-c", script).strip())
    assert place.is_relative_to(where)


def test_a_wheel(source, python, tmp_path):
    file = built(source, "build_wheel", tmp_path)
    names = zipfile.ZipFile(file).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"paribus"}
    assert "paribus/py.typed" in names
    assert any(name.startswith("paribus/sweeps/report/templates/") for name in names)
    install(python, str(file))
    works(python, tmp_path, Path(python).parents[1])


def test_an_sdist(source, python, tmp_path):
    install(python, str(built(source, "build_sdist", tmp_path)))
    works(python, tmp_path, Path(python).parents[1])


def test_an_archive_of_the_repository(source, python, tmp_path):
    install(python, str(as_archive(source, tmp_path)))
    works(python, tmp_path, Path(python).parents[1])


def test_editable(source, python, tmp_path):
    install(python, "-e", str(source))
    works(python, tmp_path, source)


def test_every_package_is_listed():
    """In setup.cfg each package has a line: none is found by itself, and none is forgotten."""
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    listed = setup["options"]["packages"].split()
    folders = {path.parent.relative_to(REPOSITORY) for room in ROOMS
               for path in (REPOSITORY / room).rglob("*.py")}  # fmt: skip
    assert listed == sorted(["paribus", *(f"paribus.{'.'.join(f.parts)}" for f in folders)])
    assert all((REPOSITORY / folder / "__init__.py").is_file() for folder in folders)
    for room in ROOMS:
        assert (REPOSITORY / "paribus" / room).readlink() == Path("..") / room
