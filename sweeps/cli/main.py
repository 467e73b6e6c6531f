"""The console script: sets what must precede every import, then runs the command."""

from paribus.core.runtime import claim_process, restart_pinned


def main() -> None:
    """Entry point of ``paribus``."""
    restart_pinned()
    claim_process()  # what trains here may keep torch's compiler from being imported: 2 s
    import gc
    import sys

    gc.disable()  # imports leave no garbage, and looking for it takes a tenth of their time
    try:
        from paribus.sweeps.cli.app import run

        gc.enable()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules are imported; `run` handles all later ones
        sys.exit(130)
    if "triton" not in sys.modules:  # it says that it leaks when nobody searches it
        gc.freeze()  # else Python searches all that was imported when it ends: 0.5 s
    sys.exit(code)
