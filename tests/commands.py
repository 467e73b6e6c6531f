"""Commands in one process that is pinned as the console script pins its own: torch comes once.

As a program it reads a line of JSON for each command, runs `paribus.sweeps.cli.app.run`, and
answers with a line of JSON; the words ``python FILE`` run a script there. `Commands` starts it and
talks to it; `refused` holds a refusal to its form.
"""

import contextlib
import functools
import gc
import io
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

SECONDS = 180


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Commands:
    """Runs commands one after the other, each in a folder of one's choice."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds  # that a command may take
        self._home = tempfile.TemporaryDirectory()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, __file__],
            env=clean_environment(self._home.name) | {"COLUMNS": "1000"},  # no line is broken
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words, cwd=".", env=None, stdin="") -> Done:
        typed = [str(word) for word in words]
        request = {"words": typed, "cwd": str(cwd), "env": env or {}, "stdin": stdin}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], self._seconds)[0]:
            self._process.kill()
            self._process = self._start()  # so that this failure stays one
            raise TimeoutError(f"{words} took more than {self._seconds} s")
        return Done(**json.loads(self._process.stdout.readline()))

    def workers(self) -> list[int]:
        """The processes that train for the command that runs."""
        from processes import children

        return [pid for server in children(self._process.pid) for pid in children(server)]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(SECONDS)
        self._process.stdout.close()
        self._home.cleanup()


def refused(done, root, *words):
    """Holds a refusal to its form; returns what was said."""
    assert done.code == 2, done
    assert not root.exists()
    assert "Traceback" not in done.out + done.err
    assert done.out == ""
    lines = done.err.splitlines()
    assert lines
    assert all(line.startswith("Error: ") for line in lines), done.err
    for word in words:
        assert word in done.err, done.err
    assert max(len(line) for line in lines) < 700
    return lines


def clean_environment(home: str) -> dict[str, str]:
    """An environment without settings of the person who tests, pinned for training."""
    from paribus.core.runtime import PINNED

    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "PARIBUS_"))}
    return inherited | PINNED | {"HOME": home, "PYTHONPATH": str(Path(__file__).parents[1])}


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a worker prints must not come between
    start = Path.cwd()
    before, path = dict(os.environ), sys.path[:]
    from alembic import util
    from processes import start_forkserver

    from paribus.core.runtime import claim_process
    from paribus.sweeps.cli.app import run

    claim_process()  # as the console script does: torch's compiler stays unimported
    start_forkserver()
    # Else the ten scripts of Optuna's schema are run each time that a storage is opened: 50 ms.
    util.load_python_file = functools.cache(util.load_python_file)
    for line in sys.__stdin__:
        request = json.loads(line)
        out, err = _stream("strict"), _stream("backslashreplace")
        os.chdir(start / request["cwd"])
        os.environ.update(request["env"])
        sys.stdin = io.TextIOWrapper(io.BytesIO(request["stdin"].encode()))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                if request["words"][:1] == ["python"]:
                    sys.path.insert(0, str(Path.cwd()))
                    runpy.run_path(request["words"][1], run_name="__main__")
                    code = 0
                else:
                    code = run(request["words"])
            except Exception:  # as Python itself would end
                traceback.print_exc()
                code = 1
        os.environ.clear()
        os.environ.update(before)
        os.chdir(start)
        _forget(set(sys.path) - set(path))
        sys.path[:] = path
        done = Done(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))
        answers.write(json.dumps(vars(done)) + "\n")
        answers.flush()
    gc.freeze()  # else Python searches all that was imported when it ends


def _stream(errors: str) -> io.TextIOWrapper:
    """A stream as Python's own: what cannot be written as UTF-8 is an error on standard output."""
    return io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True)


def _forget(folders: set[str]) -> None:
    """Drops the modules that a command imported from the folders it added to the path."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and file.rpartition("/")[0] in folders:  # 50 ms sooner than by a `Path` for each
            del sys.modules[name]


if __name__ == "__main__":
    _serve()
