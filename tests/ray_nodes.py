"""A Ray cluster for tests: nodes on addresses of the loopback, ended by process id."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from processes import children, is_alive, wait_until

# A raylet listens on all interfaces; a token keeps others out.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
os.environ.update(TOKEN)  # before ray is imported, which reads it then
ENVIRONMENT = os.environ | TOKEN | {"RAY_USAGE_STATS_ENABLED": "0"}


def free_port(address="127.0.0.2"):
    with socket.socket() as found:
        found.bind((address, 0))
        return found.getsockname()[1]


def below(pid):
    """A process and all that it has started."""
    return [pid, *(deeper for child in children(pid) for deeper in below(child))]


def words_of(pid):
    """A process's command line."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


class Node:
    """`ray start --block`, and the processes below it."""

    def __init__(self, *words, address, cpus=1, environment=None):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *words,
             f"--node-ip-address={address}", f"--num-cpus={cpus}", "--num-gpus=0",
             "--object-store-memory=100000000", "--min-worker-port=0", "--max-worker-port=0",
             "--disable-usage-stats"],
            env=ENVIRONMENT | (environment or {}),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def find(self, name):
        """The processes below it whose command line holds a word."""
        found = []
        for pid in below(self.process.pid):
            if name in words_of(pid):
                found.append(pid)
        return found

    def end(self):
        pids = below(self.process.pid)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        wait_until(lambda: not any(map(is_alive, pids)))


class Nodes:
    """A head on 127.0.0.2, which trains too, and nodes on 127.0.0.3, …"""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="ray-")  # short: the paths of sockets are
        self.port = free_port()
        self.head = Node("--head", f"--port={self.port}", f"--temp-dir={self.folder}",
                         "--include-dashboard=false", address="127.0.0.2")  # fmt: skip
        self.nodes = []
        wait_until(self._listens)

    @property
    def address(self):
        return f"127.0.0.2:{self.port}"

    def _listens(self):
        with suppress(OSError):
            socket.create_connection(("127.0.0.2", self.port), timeout=1).close()
            return True
        return False

    def add(self, number, cpus=1, environment=None):
        """A node on 127.0.0.`number`."""
        node = Node(f"--address={self.address}", address=f"127.0.0.{number}", cpus=cpus,
                    environment=environment)  # fmt: skip
        self.nodes.append(node)
        return node

    @classmethod
    @contextmanager
    def two(cls):
        """The head and one more node, for a block."""
        made = cls()
        try:
            made.add(3)
            yield made
        finally:
            made.end()

    def end(self):
        for node in [*self.nodes, self.head]:
            node.end()
        shutil.rmtree(self.folder, ignore_errors=True)
