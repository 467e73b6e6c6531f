"""Row 16 on a database server: nothing of the study is lost, and the view is built anew."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from faulty import LONG, LR, broken, line_of
from postgresql import content
from processes import wait_until

from paribus.sweeps.study import optuna_studies
from paribus.sweeps.study.study import Study


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


def test_row_16_the_server_fails_while_the_view_is_written(troubled, postgresql, injections, tally):
    """Each time the view is to be written anew; what is left half done, the next write repairs."""
    url, draw = postgresql.database("again"), random.Random(16)
    study = troubled.sweep(LR, overrides=LONG, seeds=[0, 1], storage=url).study
    faults, failed, wanted = ("kill", "cut", "full"), 0, injections(6)
    for number in range(wanted):
        optuna_studies.remove(study)
        how = faults[number % 3]
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(optuna_studies.write, study)
            time.sleep(draw.uniform(0, 0.15))
            if how == "kill":
                postgresql.kill()
                postgresql.start()
            elif how == "cut":
                postgresql.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'me'"
                )
            else:
                postgresql.query("ALTER ROLE me CONNECTION LIMIT 0")
            failed += done.exception() is not None
        postgresql.query("ALTER ROLE me CONNECTION LIMIT -1")
        optuna_studies.write(study)
        violations = wrong(troubled.root, url, troubled.folder)
        if violations:
            break
    assert failed
    tally(wanted, violations)
