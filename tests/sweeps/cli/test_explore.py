"""What `sweep` says before it explores: the range, how many runs, and what is certain by then."""

LR = "optimizer.lr=1e-4:1:log"


def test_a_dry_run_tells_the_range_and_the_first_round(paribus, tmp_path):
    root = tmp_path / "root"
    words = ("sweep", "line", LR, "--dry-run", "--no-wandb", "--root", root)
    done = paribus(*words, "--trials", "6", "--sampler", "random", "--seeds", "2")
    assert done.code == 0, done
    said = done.out
    assert "optimizer.lr = 0.0001 to 1.0, log, 6 trials by random   (baseline " in said
    assert "7 settings × 2 seeds = 14 runs" in said
    assert said.count(" optimizer.lr=") == 4
    assert "optimizer.lr: 2 more in 0.0001 to 1.0, log, by random" in said
    assert "14 runs to train: about " in said
    assert not root.exists()

    found = paribus(*words, "--pruner", "median", "--json").json
    assert found["runs"]["planned"] == 9 * 5
    assert [len(setting["seeds"]) for setting in found["settings"]] == [5, 1, 1, 1, 1]
    said = paribus(*words, "--pruner", "median").out
    assert "9 settings × 5 seeds = up to 45 runs" in said
    assert "up to 45 runs to train" in said


def test_the_command_to_paste_goes_on_exploring(paribus, tmp_path):
    root = tmp_path / "root"
    axes = (LR, "train.batch_size=3,5,7,11")
    search = ("--trials", "2", "--pruner", "median")
    words = ("--seeds", "1", "--no-wandb", "--verbose", "--root", root, "--set", "train.epochs=2")
    done = paribus("sweep", "line", *axes, *search, *words)
    assert done.code == 0, done
    pasted = [line for line in done.out.splitlines() if "to make it the baseline: " in line]
    assert pasted
    for line in pasted:
        assert "--trials 2 --pruner median" in line
    assert "train.batch_size = among 3, 5, 7, 11, 2 trials by tpe" in done.out
    table = done.out.split("\n train.batch_size (baseline ")[1].split("\n\n")[0]
    assert len(table.splitlines()) == 3  # the axis and two levels
