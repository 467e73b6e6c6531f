"""The console script: set what must precede every import, then run the command."""

from paribus.core.runtime import claim_process, restart_pinned


def main() -> None:
    """Run ``paribus``."""
    import gc
    import sys

    try:
        restart_pinned()
        claim_process()  # training here may then leave torch's compiler unimported: 2 s
        gc.disable()  # imports leave no garbage; looking for it takes a tenth of their time
        if sys.argv[1:2] == ["sweep"] and not {"-h", "--help"} & {*sys.argv}:
            from paribus.sweeps.execution import forkserver

            forkserver.start()  # it imports torch while this process imports all else
        from paribus.sweeps.cli.app import run

        gc.enable()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules are imported; `run` handles all later ones
        sys.exit(130)
    if "triton" not in sys.modules:  # it reports a leak where its modules are frozen
        gc.freeze()  # else Python looks for garbage in all modules when it ends: 0.5 s
    sys.exit(code)
