"""wandb inside this process: started on first use, quiet, bounded, and ended as a whole."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from paribus.core.errors import shown

if TYPE_CHECKING:
    import wandb

Result = TypeVar("Result")
CONNECT_SECONDS = 3.0
FINISH_SECONDS = 5.0
STOP_SECONDS = 6.0

# Cheap: without git, code, machine and system metrics a run costs some 15 ms. Bounded: by
# default wandb retries for days. Uploads are retried without end on purpose: a retry given up
# counts as done, only `finish_timeout` can be distinguished from success.
SETTINGS: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "label_disable": True,
    "symlink": False,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 2.0,
    "x_file_stream_transmit_interval": 5.0,
    "x_file_stream_timeout_seconds": 4.0,
    "x_file_transfer_retry_max": 1,
    "x_file_transfer_retry_wait_max_seconds": 1.0,
    "x_graphql_retry_max": 1,
    "x_graphql_retry_wait_max_seconds": 1.0,
    "x_graphql_timeout_seconds": 3.0,
    "init_timeout": 5.0,
    "login_timeout": 3.0,
    "finish_timeout_raises": True,
    "stop_fn": lambda: None,  # stopping a run on W&B's page would interrupt the whole command
}
TESTED = ("0.31.0",)  # versions of wandb with whose own files those of `wandb_file` were compared
# Settings that are in the file, that a run's names override, or that concern uploads only.
HARMLESS = {
    *("api_key", "base_url", "email", "entity", "host", "http_proxy", "https_proxy", "mode"),
    *("program", "program_abspath", "program_relpath", "project", "root_dir", "run_group"),
    *("run_id", "run_job_type", "run_name", "run_notes", "run_tags", "resume", "relogin"),
    *("settings_system", "username", "x_executable"),
}


class UploadError(RuntimeError):
    """wandb gave up on a run's data, which it only mentions in passing."""


class LostFileError(UploadError):
    """wandb gave up on a table, a picture or a page, whose row arrived all the same."""


class Session:
    """One start of wandb, with all its files under ``root/wandb``.

    The end of a run may take `finish_seconds`; without them, what a sweep can wait.

    Attributes:
        mode: ``online``, ``offline``, or ``disabled`` (by wandb's own settings, or not started).
        server: The server's address; empty before it was looked for.
        file_settings: Those of which W&B's own files can be written without its service; None where
            only wandb can.
    """

    def __init__(self, root: Path, finish_seconds: float | None = None) -> None:
        self.root, self.folder = root, root / "wandb"
        self.mode, self.server = "disabled", ""
        self.file_settings: wandb.Settings | None = None
        self._finish_seconds = finish_seconds or FINISH_SECONDS
        self._messages = _Messages()
        self._environment: dict[str, str] = {}  # the variables that were set here
        self._started = False
        self._open: list[wandb.Run] = []

    def start(self, *, only: str | None = None) -> str:
        """Start wandb's service and find out where runs go.

        Args:
            only: ``online`` or ``offline``: there and nowhere else, whatever wandb's mode is.

        Returns:
            Why they do not go online; empty where they do.

        Raises:
            OSError: The folder cannot be written, or the server does not answer.
            wandb.errors.Error: wandb's settings or the API key are not usable.
        """
        self.mode = "disabled"
        self._messages.fatal = ""  # of a run before
        self.check_folder()
        self._started = "WANDB_SERVICE" not in os.environ  # else it belongs to another process
        # Only variables govern these: staged tables (a later sync reads them) and the service's
        # log would go to the home folder, crash reports to a third party.
        wanted = {
            "WANDB_DATA_DIR": str(self.folder / "data"),
            "WANDB_CACHE_DIR": str(self.folder / "cache"),
            "WANDB_ERROR_REPORTING": "false",
        }
        self._environment = {k: v for k, v in wanted.items() if k not in os.environ}
        os.environ.update(self._environment)
        hooks = sys.exit, sys.excepthook
        import wandb

        try:
            bounds = dict.fromkeys(
                ("finish_timeout", "x_file_transfer_timeout_seconds"), self._finish_seconds
            )
            mode = {"mode": "online"} if only == "online" else {}
            usual = wandb.Settings(**SETTINGS | bounds | mode)
            settings = wandb.setup(usual).settings
        finally:
            sys.exit, sys.excepthook = hooks  # wandb puts its own there
        wandb.termsetup(settings, self._messages)
        # On a full disk each line of its debug.log would print a traceback.
        logging.getLogger("wandb").setLevel(logging.CRITICAL)
        if settings.mode == "disabled":
            return ""
        self.mode = "offline"
        self.file_settings = settings if _writes_the_same(settings, usual) else None
        if only == "offline" or settings.mode in ("offline", "dryrun"):
            return "its mode is offline"
        self.server = settings.base_url
        if not wandb.login(prompt=False, verify=False):
            return "no API key is configured"
        _connect(self.server)
        self.mode = "online"
        return ""

    def open(self, names: dict[str, Any], config: dict[str, Any], project: str) -> wandb.Run:
        """Open a run; one that the server has already is continued."""
        import wandb

        self.check_folder()
        opened = wandb.init(
            **names,
            config=config,
            project=project,
            dir=str(self.root),
            mode="online" if self.mode == "online" else "offline",
            resume="allow",
            reinit="create_new",
        )
        self._open.append(opened)
        opened.define_metric("epoch")
        opened.define_metric("*", step_metric="epoch")
        return opened

    def finish(self, opened: wandb.Run, exit_code: int) -> None:
        """Close a run.

        Raises:
            TimeoutError: Its data did not reach the server in time.
            UploadError: Its data will not reach the server.
            LostFileError: A file of it will not reach the server.
        """
        opened.finish(exit_code=exit_code)
        if opened in self._open:  # else another thread has given up on it
            self._open.remove(opened)
        if self.mode == "online":
            if self._messages.fatal:
                raise UploadError(self._messages.fatal)
            if lost := _lost_file(Path(opened.settings.log_internal)):
                raise LostFileError(f"a file did not reach the server ({lost})")

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End wandb's service. What takes longer than `seconds` is left to a daemon thread."""
        for opened in list(self._open):  # its thread would raise when it asks next, and show it
            with suppress(Exception):
                opened._run_status_checker.stop()  # type: ignore[union-attr]
        self._open.clear()
        if self._started:
            self._started = False
            import wandb

            with suppress(Exception, SystemExit):
                # Its first act takes wandb's exit hook away, which would wait without bound.
                within(seconds, wandb.teardown)
        for name in self._environment:
            os.environ.pop(name, None)

    def check_folder(self) -> None:
        """Create the folder.

        Raises:
            OSError: It cannot be written.
        """
        # Where it cannot write, wandb would turn to the system's temporary folder.
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{self.folder} cannot be written")


def _writes_the_same(settings: wandb.Settings, usual: wandb.Settings) -> bool:
    """Return whether wandb, of this version and with these settings, writes what is written here.

    Args:
        settings: wandb's, of this process.
        usual: What they are where the user sets nothing.
    """
    import wandb

    if wandb.__version__ not in TESTED:
        return False
    from wandb.integration.sagemaker import is_using_sagemaker

    names = set(wandb.Settings.model_fields) - HARMLESS
    same = all(getattr(settings, name) == getattr(usual, name) for name in names)
    return same and not is_using_sagemaker()


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what a call returns that may hang; it is left to a daemon thread then.

    Raises:
        TimeoutError: It hangs.
    """
    result: Future[Result] = Future()

    def work() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    thread = threading.Thread(target=work, name="bounded", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"wandb did not answer in {seconds:g} seconds")
    return result.result()


def reason(error: Exception) -> str:
    """Return what went wrong, on one line."""
    text = str(error).strip().partition("\n")[0]
    if text in ("", "<no message>"):  # the latter is wandb's word
        text = f"wandb failed ({type(error).__name__})"
    return shown(text, 160)


class _Messages:
    """Takes what wandb would print, and keeps that it gave up."""

    fatal = ""

    def info(self, msg: str) -> None:
        pass

    def warning(self, msg: str) -> None:
        if "fatal error" in msg.lower():
            self.fatal = "the server refuses the data"

    error = warning


def _lost_file(log: Path) -> str:
    """Return what wandb logs, and reports nowhere else, where it gave up on a file."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    for line in lines:
        if '"ERROR"' in line and ("giving up" in line or "failed to log artifact" in line):
            with suppress(ValueError, TypeError, KeyError):
                return str(json.loads(line)["msg"])
    return ""


def _connect(url: str) -> None:
    """Connect to a server, or to the proxy on the way to it, and hang up."""
    target = urlsplit(url)
    proxy = getproxies().get(target.scheme)
    if proxy and not proxy_bypass(target.hostname or ""):
        target = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = target.port or (443 if target.scheme == "https" else 80)
    try:
        socket.create_connection((target.hostname or "", port), CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"{target.hostname}:{port} does not answer") from error
