"""The program: see `fuzz`."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path[:1] = [str(folder) for folder in Path(__file__).resolve().parents[1:4]]

from commands import Commands  # noqa: E402

import fuzz  # noqa: E402
from fuzz import FUZZED, run_kind  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=fuzz.__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(FUZZED)}")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    failed = 0
    for name in asked.kinds or FUZZED:
        paribus, since = Commands(seconds=60), time.monotonic()
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # nothing waits for a disk
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            count, wrong = run_kind(
                name, asked.cases, asked.seed, Path(folder).resolve(), paribus,
                lambda found: print("\n".join(found), flush=True),
            )  # fmt: skip
        paribus.close()
        failed += len(wrong)
        print(f"{name}: {len(wrong)} / {count} in {time.monotonic() - since:.0f} s", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
