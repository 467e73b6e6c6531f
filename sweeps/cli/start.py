"""The console script: sets what must precede every import, then runs the command."""

from core.process import restart_pinned


def main() -> None:
    """Entry point of ``paribus``."""
    restart_pinned()
    import sys

    from sweeps.cli.app import run

    sys.exit(run(sys.argv[1:]))
