"""The server that workers are forked from, with torch imported."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver

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
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)
