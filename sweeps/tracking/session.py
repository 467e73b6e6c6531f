"""wandb made quiet and bounded: its settings, and what is to be read from all that it says."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from paribus.core.errors import shown

if TYPE_CHECKING:
    import wandb


# Cheap: without git, code, machine and system metrics a run costs some 15 ms. Bounded: by
# default wandb retries for days. Uploads are retried without end on purpose: a retry given up
# counts as done, only `finish_timeout` is told apart from success.
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
}


class Messages:
    """Takes what wandb would print, and keeps the one line that matters.

    Attributes:
        fatal: What it is; empty: there was none.
    """

    def __init__(self) -> None:
        self.fatal = ""

    def info(self, msg: str) -> None:
        pass

    def warning(self, msg: str) -> None:
        if "fatal error" in msg.lower():
            self.fatal = "the server refuses the data"

    def error(self, msg: str) -> None:
        self.warning(msg)


def lost_file(log: Path) -> str:
    """What wandb logs, and says nowhere else, where it gave up on a file."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    for line in lines:
        if '"ERROR"' in line and ("giving up" in line or "failed to log artifact" in line):
            with suppress(ValueError, TypeError, KeyError):
                return str(json.loads(line)["msg"])
    return ""


def reason(error: Exception) -> str:
    """What went wrong, on one line."""
    text = str(error).strip().partition("\n")[0]
    if text in ("", "<no message>"):  # the latter is wandb's word
        text = f"wandb failed ({type(error).__name__})"
    return shown(text, 160)


# wandb inside this process: started on first use, quiet, bounded, and ended as a whole.


CONNECT_SECONDS = 3.0
FINISH_SECONDS = 5.0
STOP_SECONDS = 6.0


class UploadError(RuntimeError):
    """wandb gave up on a run's data, which it only says in passing."""


class LostFileError(UploadError):
    """wandb gave up on a table, a picture or a page, whose row is there all the same."""


class Session:
    """One start of wandb, with all its files under ``root/wandb``.

    Args:
        root: Where results live.
        finish_seconds: How long the end of a run may take; None: what a sweep can wait.

    Attributes:
        mode: ``online``, ``offline``, or ``disabled`` (by wandb's own settings, or not started).
        server: The server's address; empty before it was looked for.
    """

    def __init__(self, root: Path, finish_seconds: float | None = None) -> None:
        self.root = root
        self.folder = root / "wandb"
        self.mode = "disabled"
        self.server = ""
        self._finish_seconds = finish_seconds or FINISH_SECONDS
        self._messages = Messages()
        self._environment: list[str] = []
        self._started = False
        self._open: list[wandb.Run] = []

    def start(self, *, only: str | None = None) -> str:
        """Starts wandb's service and finds out where runs go.

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
        self._check_folder()
        self._started = "WANDB_SERVICE" not in os.environ  # else it is somebody else's
        self._set_environment()
        hooks = sys.exit, sys.excepthook
        import wandb

        try:
            asked = wandb.Settings(**SETTINGS, stop_fn=_go_on)
            asked.finish_timeout = self._finish_seconds
            asked.x_file_transfer_timeout_seconds = self._finish_seconds
            if only == "online":
                asked.mode = "online"
            settings = wandb.setup(asked).settings
        finally:
            sys.exit, sys.excepthook = hooks  # wandb puts its own there
        wandb.termsetup(settings, self._messages)
        # On a full disk each line of its debug.log would print a traceback.
        logging.getLogger("wandb").setLevel(logging.CRITICAL)
        if settings.mode == "disabled":
            return ""
        self.mode = "offline"
        if only == "offline" or settings.mode in ("offline", "dryrun"):
            return "its mode is offline"
        self.server = settings.base_url
        if not wandb.login(prompt=False, verify=False):
            return "no API key is configured"
        reach(self.server)
        self.mode = "online"
        return ""

    def open(self, *, project: str | None, **arguments: Any) -> wandb.Run:
        """Opens a run; one that the server knows already is continued.

        Args:
            project: Where it was logged before; None: where this command logs.
            arguments: Of ``wandb.init``.
        """
        import wandb

        self._check_folder()
        opened = wandb.init(
            project=project or project_name(),
            dir=str(self.root),
            mode="online" if self.mode == "online" else "offline",
            resume="allow",
            reinit="create_new",
            **arguments,
        )
        self._open.append(opened)
        return opened

    def has_rows(self, wandb_id: str, project: str | None) -> bool:
        """Whether the server has rows of a run."""
        import wandb

        try:
            opened = wandb.init(
                project=project or project_name(),
                dir=str(self.root),
                id=wandb_id,
                mode="online",
                resume="must",
                reinit="create_new",
            )
        except wandb.errors.UsageError:  # it has no such run
            return False
        opened.finish()
        return opened.starting_step > 0

    def finish(self, opened: wandb.Run, exit_code: int) -> None:
        """Closes a run.

        Raises:
            TimeoutError: Its data did not reach the server in time.
            UploadError: Its data will not reach the server.
            LostFileError: Nor will a file of it.
        """
        opened.finish(exit_code=exit_code)
        if opened in self._open:  # else another thread has given up on it
            self._open.remove(opened)
        if self.mode != "online":
            return
        if self._messages.fatal:
            raise UploadError(self._messages.fatal)
        if lost := lost_file(Path(opened.settings.log_internal)):
            raise LostFileError(f"a file did not reach the server ({lost})")

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ends wandb's service. What takes longer than `seconds` is left to a daemon thread."""
        for opened in list(self._open):  # its thread would raise when it asks next, and show it
            with suppress(Exception):
                opened._run_status_checker.stop()  # type: ignore[union-attr]
        self._open.clear()
        if self._started:
            self._started = False
            thread = threading.Thread(target=_teardown, name="wandb teardown", daemon=True)
            thread.start()
            thread.join(seconds)
        for name in self._environment:
            os.environ.pop(name, None)
        self._environment = []

    def _check_folder(self) -> None:
        # Where it cannot write, wandb would turn to the system's temporary folder.
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{self.folder} cannot be written")

    def _set_environment(self) -> None:
        # Only variables govern these: staged tables (a later sync reads them) and the service's
        # log would go to the home folder, crash reports to a third party.
        wanted = {
            "WANDB_DATA_DIR": str(self.folder / "data"),
            "WANDB_CACHE_DIR": str(self.folder / "cache"),
            "WANDB_ERROR_REPORTING": "false",
        }
        self._environment = [name for name in wanted if name not in os.environ]
        os.environ.update({name: wanted[name] for name in self._environment})


def reach(url: str) -> None:
    """Connects to a server, or to the proxy on the way to it, and hangs up.

    Raises:
        OSError: It does not answer within `CONNECT_SECONDS`.
    """
    server = urlsplit(url)
    proxy = getproxies().get(server.scheme)
    if proxy and not proxy_bypass(server.hostname or ""):
        target = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    else:
        target = server
    port = target.port or (443 if target.scheme == "https" else 80)
    try:
        socket.create_connection((target.hostname or "", port), CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"{target.hostname}:{port} does not answer") from error


def project_name() -> str:
    """The project that this command logs to."""
    return os.environ.get("WANDB_PROJECT") or "paribus"


def _go_on() -> None:
    # A run that is stopped on W&B's page would interrupt the whole command.
    pass


def _teardown() -> None:
    # Its first act takes wandb's exit hook away, which would wait without bound.
    import wandb

    with suppress(Exception, SystemExit):
        wandb.teardown()
