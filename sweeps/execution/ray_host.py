"""A node of a Ray cluster: its workers, and what it sends back of what they train.

Runs are trained by the node's own `Pool`, so that they have the bits and the rules for failures
that they have on one machine. A host writes to a folder of its own only.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from paribus.core.errors import ParibusError, RequestError
from paribus.core.fileio import DATA_FOLDER
from paribus.core.records.run_dir import BEFORE, LAST
from paribus.core.run_spec import RunSpec, WorkerEvent
from paribus.sweeps.execution.gpus import Gpu, GpuOptions
from paribus.sweeps.execution.pool import Pool
from paribus.sweeps.execution.worker import Task

_AT_ONCE = 64 << 20  # bytes of one answer, about
LONG_POLL = 2.0  # seconds after which `Host.events` returns without one: the heartbeat


@dataclass(frozen=True)
class About:
    """What a host is; hosts of equal `kind` train to equal bits."""

    name: str
    workers: int
    gpus: list[Gpu]
    kind: Mapping[str, Any]

    @property
    def hardware(self) -> str:
        """Its processor or GPU and its version of torch."""
        return f"{self.kind.get('gpu') or self.kind['cpu']}, torch {self.kind['torch']}"


@dataclass(frozen=True)
class Sent:
    """A message on a run: an event, files of its attempt, whether it is no longer on the host."""

    run: str
    event: WorkerEvent | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    over: bool = False


class Host:
    """The actor: one for each node."""

    def __init__(
        self, workers: int, gpus: GpuOptions, folder: Path, variables: Mapping[str, str]
    ) -> None:
        for name, value in variables.items():  # what the user's code reads; a node's own come first
            os.environ.setdefault(name, value)
        if folder.is_dir():  # relative paths mean what they do on the driver
            os.chdir(folder)
        self._scratch, self._lock = _scratch_folder()
        os.environ[DATA_FOLDER] = str(self._scratch / "data")
        self._pool = Pool(workers, gpus)
        self._pool.start()
        self._tasks = _Tasks()
        self._sent: SimpleQueue[Sent] = SimpleQueue()
        self._stop = threading.Event()
        self._run_timeout: float | None = None
        self._failure: Exception | None = None
        self._saved: dict[str, int] = {}  # run to when the state that was sent last was saved
        threading.Thread(target=self._train, daemon=True).start()

    def about(self) -> About:
        """Return what this host is.

        Raises:
            RequestError: If the GPUs that are wanted are not there, or not of one kind.
        """
        gpus = self._pool.choose_gpus()
        kind = self._pool.call(kind_of, "cuda" if gpus else "cpu")
        return About(socket.gethostname(), self._pool.workers, gpus, kind)

    def call(
        self, function: Callable[..., Any], *arguments: Any
    ) -> tuple[Any, ParibusError | None]:
        """Call a function in a worker; return its result, or what it raised for a person."""
        try:
            return self._pool.call(function, *arguments), None
        except ParibusError as error:
            return None, error

    def fault_of(self, run: RunSpec) -> str | None:
        """Return why a run would not be here what was planned: its data are missing, say."""
        return self._pool.call(_fault_of, self._local(run))

    def begin(
        self, task: Task, states: Mapping[str, bytes], run_timeout: float | None, largest: RunSpec
    ) -> None:
        """Train a task, whose runs go on from these states, as soon as there is room.

        `largest` is the run of the study that takes most cores and GPUs.
        """
        with self._reporting_failures():
            if not self._tasks.runs:
                self._pool.resize_for([largest] * self._pool.workers)
            self._run_timeout = run_timeout
            self._stop.clear()
            attempts = {}
            for run in task.runs:
                attempts[run.id] = self._scratch / run.id
                attempts[run.id].mkdir()
                if run.id in states:
                    (attempts[run.id] / LAST).write_bytes(states[run.id])
            runs = tuple(self._local(run) for run in task.runs)
            self._tasks.put(task._replace(runs=runs, attempts=attempts))

    @contextmanager
    def _reporting_failures(self) -> Iterator[None]:
        """Let `events` raise what is raised in the block: nobody waits for it."""
        try:
            yield
        except Exception as error:
            self._failure = error

    def events(self, stopping: bool) -> list[Sent]:
        """Return the messages there are, after a wait of at most `LONG_POLL` seconds.

        If `stopping`, all runs stop after their epoch, and their resume states are sent.
        """
        if stopping:
            self._stop.set()
        try:
            sent = [self._sent.get(timeout=LONG_POLL)]
        except Empty:
            if self._failure:
                raise self._failure from None
            return []
        while not self._sent.empty() and sum(map(_size, sent)) < _AT_ONCE:
            sent.append(self._sent.get())
        return sent

    def close(self) -> None:
        """End the workers and remove the folder."""
        self._pool.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _train(self) -> None:
        with self._reporting_failures():
            while True:
                self._tasks.wait()
                for event in self._pool.execute(
                    self._tasks, self._stop.is_set, self._run_timeout, self._tasks.woken
                ):
                    self._send(event)
                if self._stop.is_set():
                    self._tasks.clear()
                    for run in [*self._tasks.runs]:
                        self._send_all(run)

    def _send(self, event: WorkerEvent) -> None:
        """Send an event, with the run's files where it has ended, or its state if that is new."""
        if event.ended:
            self._saved.pop(event.run, None)
            self._send_all(event.run, event)
            return
        state, files = self._scratch / event.run / LAST, {}
        if state.exists() and state.stat().st_mtime_ns != self._saved.get(event.run):
            self._saved[event.run] = state.stat().st_mtime_ns
            files = {LAST: state.read_bytes()}
        self._sent.put(Sent(event.run, event, files))

    def _send_all(self, run: str, event: WorkerEvent | None = None) -> None:
        """Send a run's attempt as it is, and remove it here."""
        self._tasks.runs.remove(run)
        attempt = self._scratch / run
        finished = event is not None and event.ended != "attempt"  # then nobody resumes it
        files = {
            str(file.relative_to(attempt)): file.read_bytes()
            for file in attempt.rglob("*")
            if file.is_file() and not (finished and file.name in (LAST, BEFORE))
        }
        shutil.rmtree(attempt, ignore_errors=True)  # a command's child may still write there
        self._sent.put(Sent(run, event, files, over=True))

    def _local(self, run: RunSpec) -> RunSpec:
        """Return a run whose sources are here: in their place, or as the driver read them."""
        lie = {name: Path(place) for name, place in run.noted["sources"].items()}
        if run.path.is_file() and all(
            name in lie and lie[name].is_file() and lie[name].read_bytes() == content
            for name, content in run.sources.items()
        ):
            return run
        digest = hashlib.sha256(repr(sorted(run.sources.items())).encode()).hexdigest()[:16]
        folder = self._scratch / "sources" / digest
        places = {}
        for name, content in run.sources.items():
            place = folder / name
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            places[module] = place
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        modules = {name: places.get(name, path) for name, path in run.observed.modules.items()}
        observed = replace(run.observed, modules=modules)
        paths = (folder, *run.import_paths)
        return replace(run, path=folder / run.path.name, import_paths=paths, observed=observed)


def _scratch_folder() -> tuple[Path, IO[str]]:
    """Make a host's folder, locked for as long as the process lives; remove those of dead ones."""
    place = Path(tempfile.gettempdir())
    for left in place.glob("paribus-host-*/lock"):
        with suppress(OSError), left.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=".paribus-host-", dir=place))
    lock = (folder / "lock").open("a")
    fcntl.flock(lock, fcntl.LOCK_EX)
    # Renamed once it is locked: another host may look for dead ones at any moment.
    return folder.rename(place / folder.name[1:]), lock


def _size(sent: Sent) -> int:
    return sum(map(len, sent.files.values()))


class _Tasks(Iterator[Task]):
    """The tasks that a host was sent and has not begun; it ends, and goes on with the next one.

    Attributes:
        woken: Can be read when a task has come.
        runs: Ids of all runs that are here.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Task] = SimpleQueue()
        self.woken, self._wake = Pipe(duplex=False)
        self.runs: list[str] = []

    def put(self, task: Task) -> None:
        self.runs += [run.id for run in task.runs]
        self._queue.put(task)
        self._wake.send(None)

    def wait(self) -> None:
        """Wait for a task."""
        while self._queue.empty():
            self.woken.recv()

    def clear(self) -> None:
        while not self._queue.empty():
            self._queue.get()

    def __next__(self) -> Task:
        try:
            return self._queue.get_nowait()
        except Empty:
            raise StopIteration from None


def kind_of(device: str) -> dict[str, Any]:
    """Return what of this machine decides bits; called in a worker. Without such a device {}."""
    import torch

    from paribus.core.fingerprint import environment

    if device == "cuda" and not torch.cuda.is_available():
        return {}
    return {**environment(device), "paribus": importlib.metadata.version("paribus")}


def _fault_of(run: RunSpec) -> str | None:
    from paribus.core.training.job import resolver_for_file

    try:
        resolver_for_file(run.path, run.import_paths).refuse_changed(run)
    except RequestError as error:
        return str(error)
    return None
