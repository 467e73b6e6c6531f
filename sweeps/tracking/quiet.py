"""wandb made quiet and bounded: its settings, and what is to be read from all that it says."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from paribus.core.errors import shown

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
