"""Row 16 on a database server: nothing of the study is lost, and the view is built anew."""

import random

import optuna
import pytest
from faulty import LONG, LR, broken, line_of
from postgresql import content
from processes import wait_until

from paribus.sweeps import sweep as sweep_module
from paribus.sweeps.execution.driver import USUAL
from paribus.sweeps.study import optuna_studies
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking.tracker import Tracker


def wrong(root, url, folder):
    """What the view on the server lacks of the one that a SQLite file has: a sentence, if any."""
    study = Study.load(root, "study")
    study.storage = f"sqlite:///{folder}/anew.db"
    optuna_studies.write(study)
    return [] if content(url) == content(study.storage) else ["the view is not the whole"]


@pytest.mark.parametrize("back", ["in the middle", "after the end"])
def test_row_16_the_server_of_the_storage_is_killed(
    back, begun, paribus, troubled, reference, postgresql, tally
):
    name = back.replace(" ", "_")
    url = postgresql.database(name)
    troubled.switch("slow")
    command = begun("--storage", url, "--workers", "1")
    wait_until(lambda: postgresql.has_trials(name))
    postgresql.kill()
    if back == "in the middle":
        postgresql.start()
    code, _, err = command.end()
    violations = [] if code == 0 else [f"exit code {code}: {err}"]
    violations += broken(troubled.root, reference)
    told = "The Optuna view is not up to date" in err
    violations += [] if told == (back == "after the end") else [err]
    if back == "after the end":
        postgresql.start()
        troubled.switch("slow", on=False)
        done = paribus(*line_of(troubled, "--storage", url), cwd=troubled.folder)
        violations += [] if done.code == 0 and "4 reused" in done.out else [str(done)]
    tally(1, violations + wrong(troubled.root, url, troubled.folder))


def test_row_16_a_server_that_fails_again_and_again(
    troubled, reference, postgresql, injections, tally, monkeypatch
):
    """After each run: it is killed, all its connections are cut, or it has none left."""
    monkeypatch.setattr(sweep_module, "VIEW_EVERY", 0)  # the view follows each run
    url, draw = postgresql.database("again"), random.Random(16)
    violations, injected = [], 0
    faults = ["kill", "cut", "study gone", "full"]
    while injected < injections(4):
        planned = troubled.plan(LR, overrides=LONG, seeds=[0, 1], name="study", storage=url)
        for event in planned.train(Tracker(), USUAL):
            if not event.record:
                continue
            how = faults[injected % 4] if injected < 4 else draw.choice(faults)
            injected += 1
            postgresql.query("ALTER ROLE me CONNECTION LIMIT -1")
            if how == "kill":
                postgresql.kill()
                postgresql.start()
            elif how == "cut":
                postgresql.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'me'"
                )
            elif how == "full":
                postgresql.query("ALTER ROLE me CONNECTION LIMIT 0")
            elif optuna.get_all_study_names(url):
                optuna.delete_study(study_name="study", storage=url)
        postgresql.query("ALTER ROLE me CONNECTION LIMIT -1")
        violations += broken(troubled.root, reference)
    done = troubled.sweep(LR, overrides=LONG, seeds=[0, 1], storage=url)
    violations += done.trained
    tally(injected, violations + wrong(troubled.root, url, troubled.folder))
