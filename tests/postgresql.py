"""A PostgreSQL server for tests: Debian's, on a loopback port, in a folder of its own."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import optuna
from processes import children, is_alive, wait_until

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
PASSWORD = "hunter2@5ec4e7"  # of the user `me`, who may do nothing but own databases


class Server:
    """A server that is started, killed and started again; its data stay until it is removed."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._bin, self._data = PROGRAMS[-1].parent, self.folder / "data"
        self._as = {"cwd": self.folder, "env": {"LC_ALL": "C", "PATH": os.environ["PATH"]}}
        if os.getuid() == 0:  # which it refuses to be
            names = [user.pw_name for user in pwd.getpwall()]
            user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        secret = self.folder / "password"
        secret.write_text("owner's")
        words = ["-U", "owner", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "-N"]
        self._run("initdb", "-D", self._data, *words)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()
        self.query(f"CREATE ROLE me LOGIN PASSWORD '{PASSWORD}'")

    def _run(self, name, *words):
        line = [self._bin / name, *map(str, words)]
        subprocess.run(line, check=True, capture_output=True, **self._as)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = ["-D", self._data, "-p", self.port, "-k", self.folder, "-F"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._bin / "postgres", "-h", "127.0.0.1", *map(str, words)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                **self._as,
            )  # fmt: skip
        wait_until(self._answers)

    def _answers(self) -> bool:
        import psycopg

        assert self.process.poll() is None, (self.folder / "log").read_text()
        with suppress(psycopg.OperationalError):
            self.query("SELECT 1")
            return True
        return False

    def kill(self) -> None:
        """Kill it and each of its processes, none of which can tidy up."""
        below = children(self.process.pid)
        self.process.kill()
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.process.wait()
        wait_until(lambda: not any(map(is_alive, below)))

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def query(self, text: str, database: str = "postgres") -> list:
        """Run a statement as the server's owner; return its rows."""
        import psycopg

        where = {"host": "127.0.0.1", "port": self.port, "dbname": database}
        with psycopg.connect(user="owner", password="owner's", autocommit=True, **where) as opened:
            done = opened.execute(text)
            return done.fetchall() if done.description else []

    def database(self, name: str) -> str:
        """Make an empty database of the user `me`; return its URL."""
        self.query(f"CREATE DATABASE {name} OWNER me")
        return self.url(name)

    def url(self, database: str, password: str = PASSWORD, port: int | None = None) -> str:
        place = f"127.0.0.1:{port or self.port}/{database}"
        return f"postgresql+psycopg://me:{quote(password, safe='')}@{place}"

    def has_trials(self, database: str) -> bool:
        there = self.query("SELECT to_regclass('trials') IS NOT NULL", database)[0][0]
        return there and self.query("SELECT count(*) FROM trials", database)[0][0] > 0


def content(url: str, name: str = "study") -> list:
    """All that Optuna reads of a stored study, but when it was written and by which root."""
    storage = optuna.storages.RDBStorage(url)
    found = optuna.load_study(study_name=name, storage=storage)
    fields = ("number", "state", "values", "params", "distributions", "user_attrs",
              "system_attrs", "intermediate_values")  # fmt: skip
    trials = [{field: getattr(trial, field) for field in fields} for trial in found.trials]
    whole = [found.direction, found.user_attrs["experiment"], *trials]
    storage.engine.dispose()
    return whole
