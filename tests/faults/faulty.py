"""Sweeps in processes of their own, and what must hold of a root whatever happened to it."""

from processes import Started

from paribus.core.errors import DamagedError
from paribus.core.fileio import verify_manifest
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.study.study import Study

LR = "optimizer.lr=0.1"
EPOCHS = 20
LONG = (f"train.epochs={EPOCHS}",)
RUNS = 4  # two settings, two seeds


def line_of(troubled, *words, every="0", root=None, wandb=False):
    """The command that all rows run."""
    line = ["sweep", troubled.path, LR, "--set", *LONG, "--seeds", "2", "--study", "study"]
    line += ["--root", root or troubled.root.path, "--workers", "2", "--checkpoint-every", every]
    return [*line, *([] if wandb else ["--no-wandb"]), *words]


def sweeping(troubled, *words, before=(), env=None, **options):
    """The same in a process of its own."""
    line = line_of(troubled, *words, **options)
    return Started(line, cwd=troubled.folder, before=before, env=env)


def broken(root, reference, workplace=None):
    """What does not hold of a root whose study is done: a sentence for each violation."""
    found = []
    study = Study.load(root, "study")
    planned = {(s.label, seed): run for s in study.settings for seed, run in s.runs.items()}
    if planned.keys() != reference.keys():
        found.append(f"planned are {sorted(planned)}")
    for place, run in planned.items():
        folder = root.runs / run
        try:
            verify_manifest(folder)
            record = RunFolder(folder).record()
        except DamagedError as error:
            found.append(str(error))
            continue
        epochs = [line.epoch for line in RunFolder(folder).history()]
        if record.status != "complete" or epochs != [*range(1, EPOCHS + 1)]:
            found.append(f"{run} ended {record.status} with the epochs {epochs}")
        if record.weights_sha256 != reference.get(place):
            found.append(f"{run} has other weights")
        if workplace is not None:
            from paribus.core.inference.evaluate import evaluate_run

            if differs := workplace.call(evaluate_run, folder, "val").differs:
                found.append(f"{run} is evaluated otherwise: {differs}")
    found += [f"{p} is left" for p in root.path.rglob("*.tmp")]
    found += [f"{p} is left" for p in root.attempts.iterdir()]
    if sorted(root.run_ids()) != sorted(planned.values()):
        found.append("there are runs that nobody planned")
    return found
