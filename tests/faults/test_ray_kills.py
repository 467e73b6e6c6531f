"""Row 22: processes of a Ray cluster that are killed or stopped at any moment."""

import os
import random
import signal
import time
from contextlib import suppress

import pytest
from faulty import broken
from processes import is_alive, wait_until
from troubled import Troubled

pytest.importorskip("ray", reason="needs paribus[ray]")

from ray_nodes import TOKEN, Nodes, below, words_of


@pytest.fixture(scope="module")
def nodes():
    with Nodes.two() as made:
        yield made


def struck(kind, nodes, command, draw):
    """Injects a fault into one of the cluster's processes, and waits until what it ends is gone."""
    node = nodes.nodes[-1] if kind == "raylet" else draw.choice([nodes.head, nodes.nodes[-1]])
    if kind == "driver":
        hosts = [pid for node in (nodes.head, *nodes.nodes) for pid in node.find("ray::Host")]
        ended = [pid for host in hosts for pid in below(host)]
        command.kill()
        wait_until(lambda: not any(map(is_alive, ended)), 30)
        return
    (host,) = node.find("ray::Host")
    workers = [pid for pid in below(host)[1:] if "forkserver" in words_of(pid)]
    if kind == "worker":
        ended = draw.sample(workers[1:], 1) if workers[1:] else [host]
    elif kind == "raylet":
        ended = node.find("raylet/raylet")
    else:
        ended = [host]
    for pid in ended:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP if kind == "stopped" else signal.SIGKILL)
    if kind == "raylet":
        node.end()
        nodes.nodes.remove(node)
        nodes.add(3)
    if kind != "stopped":
        wait_until(lambda: not any(map(is_alive, ended)), 30)


@pytest.mark.parametrize("kind", ["worker", "host", "raylet", "driver", "stopped"])
def test_row_22_a_process_of_a_cluster(
    kind, nodes, begun, finish, tmp_path, workplace, reference, injections, tally
):
    """The sweep goes on on what is left; the same command, here too, comes to the same bits."""
    wanted, injected, number, violations = injections(1), 0, 0, []
    draw = random.Random(f"{kind} {wanted}")
    on = ("--on", f"ray:{nodes.address}")
    while injected < wanted:
        number += 1
        troubled = Troubled(tmp_path / str(number), workplace)
        troubled.switch("slow")
        command = begun(*on, of=troubled, env=TOKEN, every="0" if number % 2 else "5")
        attempts = troubled.root.attempts
        while not [*attempts.glob("*/*")] and command.process.poll() is None:
            time.sleep(0.05)
        while injected < wanted and command.process.poll() is None:
            time.sleep(draw.uniform(0, 1.5))
            with suppress(ValueError):  # a host that is just beginning
                struck(kind, nodes, command, draw)
                injected += 1
            if kind in ("driver", "stopped"):
                break
        if command.process.poll() is None:
            command.end()
        troubled.switch("slow", on=False)
        violations += finish(troubled)
        violations += broken(troubled.root, reference)
    tally(injected, violations)
