"""The console script: sets what must precede every import, then runs the command."""

from paribus.core.runtime import restart_pinned


def main() -> None:
    """Entry point of ``paribus``."""
    restart_pinned()
    import gc
    import sys

    gc.disable()  # imports leave no garbage, and looking for it takes a tenth of their time
    from paribus.sweeps.cli.app import run

    gc.enable()
    code = run(sys.argv[1:])
    if "triton" not in sys.modules:  # it says that it leaks when nobody searches it
        gc.freeze()  # else Python searches all that was imported when it ends: 0.5 s
    sys.exit(code)
