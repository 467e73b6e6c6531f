"""What every test starts from: nothing of the person who runs it, and a small experiment."""

import os
import socket
import sys

import pytest
from commands import Commands
from processes import start_forkserver
from small_experiment import SMALL, Small

# Before torch starts: without it MKL rounds by where a matrix lies, and equal runs differ.
os.environ.setdefault("MKL_CBWR", "AUTO")


def pytest_addoption(parser):
    parser.addoption(
        "--injections",
        type=int,
        default=0,
        help="How often the random rows of the fault matrix inject their fault; 0: the quick form.",
    )


def pytest_sessionstart(session):
    if hasattr(session.config, "workerinput"):  # one of the processes that share the whole suite
        start_forkserver()


def pytest_collection_modifyitems(items):
    """The files that take minutes come first, so that no process waits for the other at the end."""
    slow = (
        *("test_docs.py", "test_ray_kills.py", "test_kills.py", "test_ray.py", "test_projects.py"),
        *("test_sync.py", "test_hostile.py", "test_processes_of_a_run.py", "test_gpus.py"),
        *("test_command_sweeps.py", "test_disk.py", "test_processes.py", "test_installs.py"),
        *("test_traced.py", "test_commands.py", "test_bad_input.py", "test_tracking_online.py"),
    )
    items.sort(key=lambda item: slow.index(item.path.name) if item.path.name in slow else len(slow))


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])  # loading an experiment appends its folder
    for name in list(os.environ):
        if name.startswith(("WANDB_", "PARIBUS_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def paribus():
    """Runs commands: ``paribus("run", "line", "--root", tmp_path)``."""
    commands = Commands()
    yield commands
    commands.close()


@pytest.fixture(scope="session")
def postgresql():
    """A server with databases, which is killed and started again."""
    pytest.importorskip("psycopg")
    from postgresql import PROGRAMS, Server

    if not PROGRAMS:
        pytest.skip("needs Debian's postgresql")
    server = Server()
    yield server
    server.remove()


@pytest.fixture
def write_small(tmp_path):
    """Writes the small experiment, with more text at its end or parts of it replaced."""

    def write(more="", name="small.py", replace=()):
        text = SMALL
        for old, new in replace:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n{more}")
        return Small(path)

    return write


@pytest.fixture
def small(write_small):
    return write_small()


@pytest.fixture
def addresses(monkeypatch):
    """What is looked up while there is no network."""
    found = []

    def look_up(*place, **_):
        found.append(place)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket.socket, "connect", look_up)
    return found
