"""Rows 8, 10 and 11: disks that are full or fail, and files that do not hold what was written."""

import os
import random
import shutil
import subprocess

import pytest
from faulty import LR, broken

from paribus.core.errors import DamagedError
from paribus.core.fileio import verify_manifest
from paribus.core.records.run_dir import LAST, RECORD, RunFolder, load_state, save_state
from paribus.sweeps.study.results_dir import ResultsDir

KB = 1024


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB, for a root."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("needs to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def temporary(folder):
    return [f"{path} is left" for path in folder.rglob("*.tmp")]


@pytest.mark.parametrize("room", [0, 40, 200])
def test_row_08_a_full_disk(room, begun, finish, reference, small_disk, tally):
    """Room for nothing, for the plan and a state or two, for results but not for the view."""
    root = ResultsDir(small_disk / "root")
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    ballast.write_bytes(b"\0" * (free.f_bavail * free.f_frsize - room * KB))
    code, out, err = begun(root=root.path).end()
    violations = [] if code in (1, 2) else [f"exit code {code}: {out} {err}"]
    violations += [] if "o space left on device" in err else [f"the disk is not named: {err}"]
    violations += ["a traceback"] if "Traceback" in err else []
    violations += temporary(root.path)
    for run in root.run_ids():
        verify_manifest(root.runs / run)
    ballast.unlink()
    violations += finish(root=root.path)
    tally(1, violations + broken(root, reference))


@pytest.mark.parametrize("kilobytes", [1, 12])
def test_row_08_files_may_not_grow(kilobytes, begun, finish, troubled, reference, tally):
    if shutil.which("prlimit") is None:
        pytest.skip("needs prlimit")
    code, out, err = begun(before=["prlimit", f"--fsize={kilobytes * KB}"]).end()
    violations = [] if code in (1, 2) else [f"exit code {code}: {out} {err}"]
    violations += [] if "File too large" in err else [f"the limit is not named: {err}"]
    violations += ["a traceback"] if "Traceback" in err else []
    violations += temporary(troubled.root.path)
    tally(1, violations + finish() + broken(troubled.root, reference))


def test_row_08_a_sync_fails(begun, finish, reference, injections, tally, strace, tmp_path):
    violations = []
    points = range(1, 20) if injections(0) else (9,)
    for number in points:
        root = ResultsDir(tmp_path / f"root-{number}")
        inject = ["-e", "trace=fsync", "-e", f"inject=fsync:error=EIO:when={number}"]
        code, _, err = begun(before=[*strace, "--seccomp-bpf", *inject], root=root.path).end()
        if code not in (1, 2) or "Input/output error" not in err:
            violations.append(f"sync {number}: exit code {code}: {err}")
        violations += ["a traceback"] if "Traceback" in err else []
        violations += temporary(root.path)
        violations += finish(root=root.path)
        violations += broken(root, reference)
    tally(len(points), violations)


@pytest.fixture
def finished(troubled):
    """The folder of a finished run."""
    done = troubled.sweep(LR, seeds=[0])
    return troubled.root.runs / done.study.find("baseline").runs[0]


def test_row_10_every_flipped_bit_and_every_cut_of_a_checkpoint(finished, tmp_path, tally):
    import torch

    state = {"weights": torch.arange(500.0), "epoch": 3}
    save_state(tmp_path, state)
    save_state(tmp_path, state)
    violations, injected = [], 0
    draw = random.Random(10)
    for file, read in (
        (tmp_path / LAST, load_state),
        (finished / "best.safetensors", lambda path: RunFolder(path.parent).weights()),
    ):
        content = file.read_bytes()
        flipped = [flip(content, draw.randrange(len(content) * 8)) for _ in range(1000)]
        cut = [content[: len(content) * part // 64] for part in range(64)]
        for changed in [*flipped, *cut]:
            file.unlink()  # it may be a link to another
            file.write_bytes(changed)
            injected += 1
            try:
                read(file)
                violations.append(f"{file} was read though it was changed")
            except DamagedError as error:
                violations += [] if file.name in str(error) else [f"not named: {error}"]
        file.write_bytes(content)
        read(file)
    assert injected == 2128
    tally(injected, violations)


def flip(content, place):
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def test_row_11_files_of_a_finished_run_cut_anywhere(finished, troubled, tally):
    violations, injected = [], 0
    for file in sorted(path for path in finished.rglob("*") if path.is_file()):
        content = file.read_bytes()
        last = content.rstrip(b"\n").rfind(b"\n") + 1 if file.suffix in (".json", ".jsonl") else 0
        for length in range(last, len(content), max(1, (len(content) - last) // 200)):
            file.write_bytes(content[:length])
            injected += 1
            damage = troubled.root.damage(finished.name)
            if damage is None:
                violations.append(f"{file.name}, cut to {length} bytes, is not noticed")
            elif file.name not in damage:
                violations.append(f"{file.name} is not named: {damage}")
        file.write_bytes(content)
    assert troubled.root.damage(finished.name) is None
    tally(injected, violations)


@pytest.mark.parametrize("name", [RECORD, "history.jsonl", "best.safetensors", "manifest.json"])
def test_row_11_a_damaged_run_is_refused_by_name(name, finished, troubled, paribus, tally):
    file = finished / name
    file.write_bytes(file.read_bytes()[:-3])
    at = ("--root", troubled.root.path)
    violations = []
    for command in ("evaluate", "show", "run"):
        done = paribus(command, finished.name, *at)
        if (done.code, done.out) != (1, "") or name not in done.err or "Traceback" in done.err:
            violations.append(f"{command}: {done}")
    other = next(run for run in troubled.root.run_ids() if run != finished.name)
    done = paribus("compare", finished.name, other, *at)
    if (done.code, done.out) != (1, "") or name not in done.err or "Traceback" in done.err:
        violations.append(f"compare of runs: {done}")
    done = paribus("compare", "study", *at)
    said = f"{finished.name} is left out, as it is damaged: {file}"
    if (done.code, said in done.err) != (1, True):
        violations.append(f"compare of a study: {done}")
    tally(5, violations)
