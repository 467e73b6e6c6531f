"""The console script: sets what must precede every import, then runs the command."""

from core.process import restart_pinned


def main() -> None:
    """Entry point of ``paribus``."""
    restart_pinned()
    import gc
    import sys

    gc.disable()  # imports leave no garbage, and looking for it takes a tenth of their time
    from sweeps.cli.app import run

    gc.enable()
    code = run(sys.argv[1:])
    if "torch" not in sys.modules:  # parts of it say that they leak when nobody searches them
        gc.freeze()  # else Python searches all that was imported when it ends: 0.4 s
    sys.exit(code)
