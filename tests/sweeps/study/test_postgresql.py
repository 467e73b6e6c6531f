"""The Optuna view on a real PostgreSQL server, read back by Optuna: what the SQLite file has."""

import sys
from urllib.parse import quote

import pytest
from commands import refused
from postgresql import PASSWORD, content
from processes import Started

from paribus.core.errors import RequestError
from paribus.sweeps.study.optuna_studies import checked_storage

LINE = ("optimizer.lr=0.1:1:log:2", "loss=cross_entropy(label_smoothing=0.1)", "--seeds", "2")


def line_of(troubled, root, *words):
    named = ("--study", "study", "--root", root, "--workers", "2")
    return ["sweep", troubled.path, *LINE, *named, *words]


def leaks(text):
    return [word for word in (PASSWORD, quote(PASSWORD, safe=""), "hunter2") if word in text]


def test_it_is_what_the_sqlite_file_is_and_the_password_is_nowhere(
    postgresql, troubled, paribus, tmp_path
):
    url, root = postgresql.database("same"), tmp_path / "there"
    env = {"WANDB_MODE": "offline", "HOME": str(tmp_path / "home")}
    code, out, err = Started(
        line_of(troubled, root, "--storage", url, "--json"), cwd=tmp_path, env=env
    ).end()
    assert code == 0, err
    place = f"postgresql+psycopg://127.0.0.1:{postgresql.port}/same"
    assert f'"storage": "{place}"' in out
    assert not (root / "optuna.db").exists()
    paths = [*root.rglob("*"), *(tmp_path / "home").rglob("*")]
    files = {p: p.read_bytes().decode(errors="replace") for p in paths if p.is_file()}
    assert place in files[root / "studies/study/study.json"]
    assert any("wandb" in path.parts for path in files)
    assert not [(path, found) for path, text in files.items() if (found := leaks(text))]
    assert leaks(out + err) == []

    done = paribus(*line_of(troubled, tmp_path / "here", "--no-wandb"), cwd=tmp_path)
    assert done.code == 0, done.err
    trials = content(url)
    assert trials == content(f"sqlite:///{tmp_path}/here/optuna.db")
    assert len(trials) == 2 + 4

    # A later command has to be given the password again, by whatever PostgreSQL reads it from.
    again = line_of(troubled, root, "--no-wandb")
    done = paribus(*again, cwd=tmp_path, env={"PGUSER": "me"})
    assert done.code == 2
    assert "Give --storage URL with user and password" in done.err
    secrets = {"PGUSER": "me", "PGPASSWORD": PASSWORD}
    done = paribus(*again, "--plain", "--storage", place, cwd=tmp_path, env=secrets)
    assert (done.code, leaks(done.out + done.err)) == (0, [])
    assert content(url) == trials
    # What the warm process opened is closed.
    assert postgresql.query("SELECT pid FROM pg_stat_activity WHERE usename = 'me'") == []

    done = paribus("remove", "study", "--root", root, "--yes", cwd=tmp_path, env=secrets)
    assert done.code == 0, done
    assert postgresql.query("SELECT study_name FROM studies", "same") == []


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("wrong password", 'password authentication failed for user "me"'),
        ("nobody listens", "Connection refused"),
        ("no such database", 'database "nowhere" does not exist'),
        ("unquoted", "has an @ too many"),
    ],
)
def test_a_server_that_cannot_be_used_is_refused(
    how, says, postgresql, troubled, paribus, tmp_path
):
    url = {
        "wrong password": postgresql.url("postgres", f"not {PASSWORD}"),
        "nobody listens": postgresql.url("postgres", port=9),
        "no such database": postgresql.url("nowhere"),
        "unquoted": postgresql.url("postgres").replace("%40", "@"),
    }[how]
    root = tmp_path / "root"
    line = line_of(troubled, root, "--no-wandb", "--storage", url)
    (said,) = refused(paribus(*line, cwd=tmp_path), root, says)
    assert leaks(said) == []
    assert "5ec4e7" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["experiment"]


def test_a_dry_run_makes_no_tables(postgresql, troubled, paribus, tmp_path):
    url = postgresql.database("dry")
    line = line_of(troubled, tmp_path / "root", "--dry-run", "--storage", url)
    assert paribus(*line, cwd=tmp_path).code == 0
    assert postgresql.query("SELECT to_regclass('studies')", "dry") == [(None,)]


def test_without_the_driver_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RequestError) as caught:
        checked_storage(f"postgresql://me:{quote(PASSWORD)}@host/base")
    (fault,) = caught.value.faults
    assert fault.message.startswith("--storage postgresql://host/base: its driver is not installed")
    assert "pip install 'paribus[postgresql]'" in fault.hint
    assert caught.value.exit_code == 2
    assert leaks(str(fault)) == []
