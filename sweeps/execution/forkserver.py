"""The server that workers are forked from, with torch imported."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker

from paribus.core.runtime import pinned_environment

_PRELOAD = "paribus.core.training.forkserver_preload"


def start() -> None:
    """Start the server unless it runs: its imports then overlap this process's own.

    Raises:
        ChildProcessError: If this process is a fork of one that has a server.
    """
    with pinned_environment(), ctrl_c_ignored():
        multiprocessing.get_context("forkserver").set_forkserver_preload([_PRELOAD])
        forkserver.ensure_running()


@contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """Let processes that start in the block ignore the terminal's Ctrl-C: it is the driver's.

    The forkserver and a spawned worker ignore it by themselves only once they have imported torch.
    It is blocked, which they inherit: what this process ignored meanwhile would be lost.
    """
    resource_tracker.ensure_running()  # what starts it unblocks it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
