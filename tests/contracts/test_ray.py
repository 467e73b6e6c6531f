"""Two Ray nodes on the loopback keep to the contract of executors, and to what is theirs alone."""

import os
import signal

import pytest
from processes import Started, wait_until
from ray_nodes import TOKEN, Nodes
from troubled import Troubled

from paribus.sweeps.execution.executor import Placement, make_executor
from paribus.sweeps.execution.pool import Pool

pytest.importorskip("ray", reason="needs paribus[ray]")

from test_executors import *  # noqa: F403

del globals()["test_in_a_pinned_process"]


@pytest.fixture(scope="module")
def nodes():
    with Nodes.two() as made:
        yield made


@pytest.fixture(scope="module")
def cluster(nodes):
    with make_executor(Placement(on=f"ray:{nodes.address}")) as made:
        made.start()
        made.prepare()
        yield made


@pytest.fixture
def executor(cluster):
    wait_until(lambda: cluster.prepare() or len(cluster.nodes) == 2)
    cluster.size = 2
    return cluster


def sweep(troubled, nodes, *words, env=None):
    line = [
        "sweep",
        troubled.path,
        "optimizer.lr=0.1",
        "--seeds",
        "2",
        "--study",
        "study",
        "--no-wandb",
        "--root",
        troubled.root.path,
        "--on",
        f"ray:{nodes.address}",
        *words,
    ]
    return Started(line, cwd=troubled.folder, env=TOKEN | (env or {}))


@pytest.fixture(scope="module")
def workplace():
    with Pool(1) as place:
        yield place


@pytest.fixture
def troubled(tmp_path, workplace):
    return Troubled(tmp_path, workplace)


def test_a_sweep_has_the_ids_and_bits_of_one_machine(nodes, troubled, tmp_path, workplace):
    code, _, err = sweep(troubled, nodes).end()
    assert code == 0, err
    here = Troubled(tmp_path / "here", workplace)
    here.path.write_text(troubled.path.read_text())
    there = {run: troubled.root.finished(run).weights_sha256 for run in troubled.root.run_ids()}
    assert len(there) == 4
    done = here.sweep("optimizer.lr=0.1", seeds=[0, 1])
    assert sorted(done.hashes.values()) == sorted(there.values())
    assert sorted(here.root.run_ids()) == sorted(there)
    assert not [*troubled.root.attempts.iterdir()]


def test_a_stopped_sweep_goes_on_here_from_where_it_was(nodes, troubled):
    troubled.switch("slow")
    started = sweep(troubled, nodes, "--set", "train.epochs=40")
    wait_until(lambda: [*troubled.root.attempts.glob("*/*")], 120)
    os.kill(started.process.pid, signal.SIGINT)
    code, _, err = started.end()
    assert code == 130, err
    troubled.switch("slow", on=False)
    done = troubled.sweep("optimizer.lr=0.1", seeds=[0, 1], overrides=("train.epochs=40",))
    epochs = [step.progress for step in done.steps if step.progress and step.progress.line]
    assert len(epochs) < 4 * 40  # some were trained before


def test_a_node_that_joins_trains_and_a_killed_one_costs_little(nodes, troubled):
    troubled.switch("slow")
    started = sweep(troubled, nodes, "--set", "train.epochs=100", "--seeds", "3")
    wait_until(lambda: [*troubled.root.attempts.glob("*/*")], 120)
    late = nodes.add(4)
    try:
        wait_until(lambda: late.find("ray::Host"), 180)
        os.kill(max(nodes.nodes[0].find("ray::Host")), signal.SIGKILL)  # the other is `cluster`'s
        troubled.switch("slow", on=False)
        code, _, err = started.end()
        assert code == 0, err
        assert "is gone" in err
    finally:
        late.end()
        nodes.nodes.remove(late)


def test_dry_run_and_doctor_name_the_hosts(nodes, troubled):
    code, out, err = sweep(troubled, nodes, "--dry-run").end()
    assert code == 0, err
    assert "127.0.0.2" in out
    assert "127.0.0.3" in out
    assert "all of one kind: " in out
    assert not troubled.root.path.exists()
    done = Started(["doctor", "--on", f"ray:{nodes.address}"], cwd=troubled.folder, env=TOKEN)
    code, out, _ = done.end()
    assert (code, out.count("1 worker")) == (0, 2)


@pytest.mark.parametrize(("words", "env", "said"), [
    (["--on", "ray:127.0.0.2:1"], {}, "--on ray:127.0.0.2:1: nobody listens there"),
    (["--on", "dask"], {}, "--on dask: must be ray, or ray:HOST:PORT."),
    (["--gpus", "0"], {}, "this machine has no GPU 0"),
])  # fmt: skip
def test_a_cluster_that_cannot_train_is_refused(nodes, troubled, words, env, said):
    code, out, err = sweep(troubled, nodes, *words, env=env).end()
    assert (code, out) == (2, ""), err
    assert said in err
    assert "Traceback" not in err
    assert not troubled.root.path.exists()


def test_a_node_of_another_kind_is_left_out_or_refused(nodes, troubled):
    """Its processes round otherwise, by a variable that torch reads."""
    other = nodes.add(5, environment={"ATEN_CPU_CAPABILITY": "default"})
    try:
        wait_until(lambda: other.find("raylet/raylet"), 60)
        code, out, err = sweep(troubled, nodes, "--dry-run").end()
        assert code == 0, err
        assert "of another kind: " in out
        assert "ATEN_CPU_CAPABILITY default, not None" in " ".join(out.split())
        code, out, err = sweep(troubled, nodes, "--strict-class").end()
        assert (code, out) == (2, "")
        assert "--strict-class: the hosts are of 2 kinds" in err
        assert not troubled.root.path.exists()
    finally:
        other.end()
        nodes.nodes.remove(other)


def test_data_that_a_node_lacks_are_named_before_anything_is_created(nodes, troubled):
    """By a variable that says where they lie: the node's own comes first."""
    troubled.replace("    kind = torch.arange(n) % 3\n", """\
    assert Path(os.environ["PLACE"]).exists(), "no data here"
    kind = torch.arange(n) % 3
""")  # fmt: skip
    lacking = nodes.add(6, environment={"PLACE": "/nowhere"})
    try:
        wait_until(lambda: lacking.find("raylet/raylet"), 60)
        code, out, err = sweep(troubled, nodes, env={"PLACE": "/"}).end()
        assert (code, out) == (2, "")
        assert "1 host cannot train this: " in err
        assert "127.0.0.6" in err
        assert "no data here" in err
        assert not troubled.root.path.exists()
    finally:
        lacking.end()
        nodes.nodes.remove(lacking)
