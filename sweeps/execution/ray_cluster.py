"""The nodes of a Ray cluster as one place to train: `--on ray`.

Each node has a `Host`; this process keeps what it did on one machine: plans, locks, accepts what
comes back, and decides what is tried again. A host that leaves loses what it was training, as a
worker that dies does; one that joins gets the next task.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, cast

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from paribus.core.config.schema import get
from paribus.core.config.values import canonical_json
from paribus.core.errors import ParibusError, RequestError, many, shown
from paribus.core.fileio import write_bytes
from paribus.core.fingerprint import explain
from paribus.core.records.run_dir import LAST
from paribus.core.run_spec import RunSpec, WorkerEvent, unfinished
from paribus.core.sources.read_digests import is_secret
from paribus.sweeps.execution.driver import schedule
from paribus.sweeps.execution.gpus import GpuOptions
from paribus.sweeps.execution.pool import Pool, Result, Stop, room_for
from paribus.sweeps.execution.ray_host import About, Host, Sent, kind_of
from paribus.sweeps.execution.worker import Task

_SILENT = 20.0  # seconds without an answer, of which a host owes one every two, until it is lost
_BEGINNING = 120.0  # seconds that a host may take to import torch and answer first
_CHECKING = 600.0  # seconds that it may take to read the data
_LOOK = 5.0  # seconds between looks at which nodes there are


class _Node:
    """The driver's handle of a node's host."""

    def __init__(
        self, node: Mapping[str, Any], placement: tuple[Any, ...], most: int | None
    ) -> None:
        workers, gpus = node["Resources"].get("CPU", 0), placement[0]
        if gpus.wanted is None and not node["Resources"].get("GPU"):
            gpus = GpuOptions("none")  # Ray shows all of the machine's to what asks for none
        self.address, self.id = node["NodeManagerAddress"], node["NodeID"]
        affinity = NodeAffinitySchedulingStrategy(self.id, soft=False)
        actor = cast(Any, ray.remote(Host)).options(
            # Our own rules say what is tried again: Ray's would do so silently.
            num_cpus=0, max_restarts=0, max_task_retries=0, max_concurrency=16,
            scheduling_strategy=affinity,
        )  # fmt: skip
        self.host = actor.remote(min(int(workers), most or int(workers)), gpus, *placement[1:])
        self.pending = self.host.about.remote()  # the call that it has to answer
        self.since = time.monotonic()  # while it joins
        self.silent = 0.0  # seconds that it owes an answer
        self.about: About | None = None  # None: it has not said yet
        self.tasks: list[tuple[Task, set[str]]] = []  # with the runs that are left of each

    @property
    def name(self) -> str:
        return f"{self.about.name} ({self.address})" if self.about else self.address

    def kill(self) -> None:
        with suppress(RayError):
            ray.kill(self.host)


class RayCluster:
    """Trains on all nodes of a Ray cluster that are of one kind: `Executor` says what it does.

    Args:
        address: ``HOST:PORT``; empty: the cluster that runs on this machine.
        workers: The most for each node; None: as many as its processors in Ray.
        gpus: Which of each node's GPUs train.
        strict: Refuse a cluster whose nodes are of several kinds, instead of using the largest.

    Attributes:
        nodes: Those of the kind that trains.
        left_out: Sentences on those that are not.
    """

    def __init__(
        self, address: str, workers: int | None = None, gpus: GpuOptions | None = None,
        *, strict: bool = False,
    ) -> None:  # fmt: skip
        self.address, self.workers, self.strict = address, workers, strict
        self.size = 1
        self.nodes: list[_Node] = []
        self.left_out: list[str] = []
        self._kind: Mapping[str, Any] | None = None
        self._here: Pool | None = Pool(1)  # plans, where this machine is of that kind
        self._joining: list[_Node] = []
        self._known: set[str] = set()  # ids of nodes that were asked
        self._looked = 0.0
        self._largest: RunSpec | None = None  # of the study: takes most cores and GPUs
        self._checked: RunSpec | None = None  # each host has to be able to train it
        self._connected = False
        variables = {
            name: value for name, value in os.environ.items()
            if name != "CUDA_VISIBLE_DEVICES" and not is_secret(name)
        }  # fmt: skip
        self._placement = (gpus or GpuOptions(), Path.cwd(), variables)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._here:
            self._here.close()
        if not self._connected:  # else a session of the user's would end
            return
        asked = [node.host.close.remote() for node in (*self.nodes, *self._joining)]
        if asked:
            with suppress(RayError):
                ray.wait(asked, num_returns=len(asked), timeout=5)
        for node in (*self.nodes, *self._joining):
            node.kill()
        ray.shutdown()

    def start(self) -> None:
        """Connect to the cluster and let each node begin its host.

        Raises:
            RequestError: If nobody listens there, or it accepts anyone.
        """
        if ray.is_initialized():
            raise RequestError(
                "This process is connected to a Ray cluster already.",
                "Run paribus in a process of its own: it connects with options of its own.",
            )
        _refuse_if_nobody_listens(self.address)
        handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            ray.init(self.address or "auto", log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            place = self.address or "on this machine"
            raise RequestError(
                f"--on ray: there is no Ray cluster {place}: {shown(error, 200)}",
                "Start one, ray start --head, with the token that this process has: "
                "docs/clusters.md says how.",
            ) from None
        self._connected = True
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray's would end the process at once
                signal.signal(number, handler)
        # Ray prints what happens to nodes to standard output, which is the command's own; no option
        # prevents it.
        ray._private.worker._worker_logs_enabled = False
        gcs = ray.get_runtime_context().gcs_address
        if not gcs.startswith("127.") and os.environ.get("RAY_AUTH_MODE") != "token":
            raise RequestError(
                f"--on ray: the cluster at {gcs} accepts anyone who reaches its port.",
                "Start its nodes and paribus with RAY_AUTH_MODE=token and one RAY_AUTH_TOKEN_PATH; "
                "ray get-auth-token --generate makes a token.",
            )
        self._look_for_nodes()
        assert self._here
        self._here.start()

    def prepare(self) -> None:
        """Wait until every node has said what it is, and choose the kind that trains."""
        self._look_for_nodes()
        while self._joining:
            self._receive_new()
            time.sleep(0.05)
        if not self.nodes:
            raise RequestError(
                f"--on ray: no node can train: {'; '.join(self.left_out) or 'there is none'}.",
                "Start one with processors: ray start --address=HOST:PORT --num-cpus=4.",
            )
        gpus = self._placement[0] if _about(self.nodes[0]).gpus else GpuOptions("none")
        if self._here and self._here.gpus is None:  # it was not looked at yet
            self._here.gpu_options, same = gpus, False
            with suppress(RequestError):  # GPUs that are not here
                device = "cuda" if self._here.choose_gpus() else "cpu"
                same = self._here.call(kind_of, device) == self._kind
            if not same:
                self._here.close()
                self._here = None

    def resize_for(self, runs: Sequence[RunSpec]) -> None:
        if runs:
            self._largest = max(runs, key=lambda run: get(run.configuration, "train.processes"))
        slots = sum(map(self._slots, self.nodes))
        if self._largest and self.nodes and not slots:
            processes = get(self._largest.configuration, "train.processes")
            raise RequestError(
                f"--on ray: no node has {processes} GPUs for the {processes} processes of a run.",
                "Give train.processes fewer, or --gpus more.",
            )
        self.size = max(1, min(len(runs), slots))

    def check(self, run: RunSpec) -> None:
        self._checked = run
        asked = {node: node.host.fault_of.remote(run) for node in self.nodes}
        faults = []
        for node, ref in asked.items():
            try:
                fault = ray.get(ref, timeout=_CHECKING)
            except RayError as error:
                fault = _why(error)
            faults += [f"{node.name}: {fault}"] if fault else []
        if faults:
            raise RequestError(
                f"{many(len(faults), 'host')} cannot train this: {'; '.join(faults)}",
                "Data that are named by path have to be there on every node; or leave the node out "
                "of the cluster.",
            )

    def summary(self, runs: Sequence[RunSpec]) -> list[str]:
        self.resize_for(runs)
        jobs = len(schedule(runs, self.size)) if runs else 0
        lines = []
        for node in self.nodes:
            about = _about(node)
            gpus = f", {many(len(about.gpus), 'GPU')} ({about.gpus[0].kind})" if about.gpus else ""
            slots = self._slots(node)
            share = jobs * slots / max(1, sum(map(self._slots, self.nodes)))
            its = f", about {share:.0f} of {many(jobs, 'job')}; data are there" if runs else ""
            lines.append(f"host {node.name}: {many(slots, 'worker')}{gpus}{its}")
        lines.append(f"all of one kind: {_about(self.nodes[0]).hardware}")
        return lines + [f"left out: {why}" for why in self.left_out]

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        if self._kind is None:
            self.prepare()
        if self._here:
            return self._here.call(function, *arguments)
        try:
            result, fault = ray.get(self.nodes[0].host.call.remote(function, *arguments))
        except RayError as error:
            what = f"{self.nodes[0].name} could not plan: {_why(error)}"
            raise ParibusError(what, "Try again.") from None
        if fault is not None:
            raise fault
        return result

    def execute(
        self, tasks: Iterable[Task], stop: Stop, run_timeout: float | None = None
    ) -> Iterator[WorkerEvent]:
        waiting, looked = iter(tasks), time.monotonic()
        self._look_for_nodes()
        if not (self.nodes or self._joining):
            raise ParibusError(
                "--on ray: no node is left that could train.",
                "Start one; the same command goes on, here too without --on.",
            )
        try:
            while True:
                self._receive_new()
                while not stop() and (node := self._node_with_room()):
                    task = next(waiting, None)
                    if task is None:
                        break
                    states = {
                        run: (folder / LAST).read_bytes()
                        for run, folder in task.attempts.items() if (folder / LAST).exists()
                    }  # fmt: skip
                    node.host.begin.remote(task, states, run_timeout, self._largest or task.runs[0])
                    node.tasks.append((task, {run.id for run in task.runs}))
                busy = [node for node in self.nodes if node.tasks]
                if not busy and (self.nodes or not self._joining or stop()):
                    return
                for node in [node for node in busy if node.pending is None]:
                    node.pending, node.silent = node.host.events.remote(stop()), 0.0
                answered = _those_that_answered(busy)
                # While this process, or its machine, was away, no node was silent.
                passed, looked = min(time.monotonic() - looked, 1.0), time.monotonic()
                for node in answered:
                    yield from self._receive(node)
                for node in [node for node in busy if node not in answered]:
                    node.silent += passed
                    if node.silent > _SILENT:
                        reason = f"timeout: {node.name} has not answered for {_SILENT:.0f} s"
                        yield from self._lose(node, reason)
        finally:
            for node in [node for node in self.nodes if node.tasks]:
                self._lose(node)

    def _node_with_room(self) -> _Node | None:
        """Return the node with the largest share of idle slots, if one has any."""
        if sum(len(node.tasks) for node in self.nodes) >= self.size:
            return None
        room = [node for node in self.nodes if len(node.tasks) < self._slots(node)]
        return min(room, key=lambda node: len(node.tasks) / self._slots(node), default=None)

    def _slots(self, node: _Node) -> int:
        """Return how many runs a node trains at a time."""
        about, runs = _about(node), [self._largest] if self._largest else []
        return room_for(runs, about.workers, about.gpus, self._placement[0].per_gpu)[0]

    def _receive(self, node: _Node) -> Iterator[WorkerEvent]:
        """Yield the events that a node has sent; where it is gone, that its runs stay attempts."""
        try:
            messages: list[Sent] = ray.get(node.pending)
        except RayTaskError as error:  # it will fail again
            yield from self._lose(node, f"host: {node.name} failed: {_why(error)}", again=False)
            return
        except RayError as error:
            yield from self._lose(node, f"host: {node.name} is gone ({type(error).__name__})")
            return
        node.pending = None
        attempts = {run: task.attempts[run] for task, left in node.tasks for run in left}
        files = {attempts[s.run] / name: data for s in messages for name, data in s.files.items()}
        try:
            for folder in {path.parent for path in files}:
                folder.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(16) as threads:  # what a disk syncs together takes it no longer
                for _ in threads.map(write_bytes, files.keys(), files.values()):
                    pass
        except OSError as error:
            yield from self._lose(node, f"disk: {error}")
            return
        for sent in messages:
            if sent.over:
                for _, left in node.tasks:
                    left.discard(sent.run)
                node.tasks = [(task, left) for task, left in node.tasks if left]
            if sent.event:
                yield sent.event

    def _lose(self, node: _Node, reason: str = "", *, again: bool = True) -> list[WorkerEvent]:
        """Give a node up; return the end of its runs. `again`: while it is there, it may begin."""
        self.nodes.remove(node)
        node.kill()
        if again:
            self._known.discard(node.id)
        else:
            self.left_out.append(reason)
        runs = [run for task, left in node.tasks for run in task.runs if run.id in left]
        node.tasks = []
        return unfinished(runs, reason)

    def _look_for_nodes(self) -> None:
        """Let each node that is new begin its host."""
        self._looked = time.monotonic()
        for node in ray.nodes():  # type: ignore[no-untyped-call]
            cpus = node["Resources"].get("CPU", 0)
            if node["Alive"] and node["NodeID"] not in self._known and cpus >= 1:
                self._known.add(node["NodeID"])
                self._joining.append(_Node(node, self._placement, self.workers))

    def _receive_new(self) -> None:
        """Take in the hosts that have begun, are of the kind that trains, and have the data."""
        if time.monotonic() - self._looked > _LOOK:
            self._look_for_nodes()
        for node in [node for node in self._joining if node.pending is not None]:
            try:
                answer, node.pending = ray.get(node.pending, timeout=0), None
            except GetTimeoutError:
                if time.monotonic() - node.since > (_CHECKING if node.about else _BEGINNING):
                    self._leave_out(node, "its host does not answer")
            except (RayError, RequestError) as error:
                self._leave_out(node, _why(error))
            else:
                if node.about is None:
                    node.about = answer
                elif answer:  # what it lacks
                    self._leave_out(node, answer)
                else:
                    self._take(node)
        begun = [node for node in self._joining if node.about and node.pending is None]
        if self._kind is None:
            if not begun or len(begun) < len(self._joining):
                return
            self._kind = self._largest_kind(begun)
        for node in begun:
            if differs := explain(self._kind, _about(node).kind):
                pairs = (f"{name} {here}, not {there}" for name, (there, here) in differs.items())
                self._leave_out(node, f"of another kind: {', '.join(pairs)}")
            elif self._checked:
                node.pending = node.host.fault_of.remote(self._checked)
                node.since = time.monotonic()
            else:
                self._take(node)

    def _take(self, node: _Node) -> None:
        self._joining.remove(node)
        self.nodes.append(node)

    def _largest_kind(self, begun: Sequence[_Node]) -> Mapping[str, Any]:
        """Return the kind with the most workers: a study's runs stay on one."""
        workers: Counter[str] = Counter()
        for node in begun:
            workers[canonical_json(_about(node).kind)] += _about(node).workers
        if self.strict and len(workers) > 1:
            names = "; ".join(f"{n.name}: {_about(n).hardware}" for n in begun)
            raise RequestError(
                f"--strict-class: the hosts are of {len(workers)} kinds: {names}",
                "Leave it out to train on the largest; or start Ray on nodes of one kind.",
            )
        largest = max(workers, key=lambda kind: workers[kind])
        return next(kind for n in begun if canonical_json(kind := _about(n).kind) == largest)

    def _leave_out(self, node: _Node, why: str) -> None:
        self._joining.remove(node)
        self.left_out.append(f"{node.name}: {why}")
        node.kill()


def _those_that_answered(busy: Sequence[_Node]) -> list[_Node]:
    """Return nodes that have answered, after a wait of at most 0.2 s for one."""
    asked = [node.pending for node in busy]
    if not asked:  # until a host has begun
        time.sleep(0.1)
        return []
    # Not fetched: an answer may be large.
    ray.wait(asked, timeout=0.2, fetch_local=False)
    ready = set(ray.wait(asked, num_returns=len(asked), timeout=0, fetch_local=False)[0])
    return [node for node in busy if node.pending in ready]


def _about(node: _Node) -> About:
    assert node.about is not None
    return node.about


def _why(error: Exception) -> str:
    """Return why a host could not begin."""
    text = str(error)
    if "No module named 'paribus" in text:
        return "its Python has no paribus; install it there, in the version of this machine"
    return shown(getattr(error, "cause", None) or error, 300)


def _refuse_if_nobody_listens(address: str) -> None:
    """Refuse an address at which nobody listens: Ray would try it for minutes."""
    if not address:
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        raise RequestError(
            f"--on ray:{shown(address)}: nobody listens there ({error}).",
            "Such as ray:10.0.0.1:6379, as ray start --head prints it; or ray alone, on a node of "
            "the cluster.",
        ) from None
