"""The README's commands: `python tests/readme.py` runs them and writes what they really print.

A block marked ``console`` holds commands after ``$`` and their output; blocks marked ``python`` are
run too, and one that begins with a docstring naming a file is that file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN_FOLDER = "/home/you/work"


def blocks(text: str) -> Iterator[tuple[re.Match[str], str, str]]:
    """(match, kind, content) of each block that is run."""
    for match in BLOCK.finditer(text):
        yield match, match.group(1), match.group(2)


def commands(block: str) -> list[str]:
    """The commands of a console block."""
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def file_of(block: str) -> str | None:
    """The file that a Python block is, as its docstring's command says."""
    found = re.match(r'""".*?paribus sweep (\w+\.py)', block, re.DOTALL)
    return found.group(1) if found else None


def run(command: list[str] | str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder, without a W&B key, output as a file would get it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "PARIBUS"))}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run_block(
    kind: str, block: str, folder: Path
) -> list[tuple[str, subprocess.CompletedProcess[str]]]:
    """Runs all of a block, in order."""
    if kind == "console":
        return [(command, run(command, folder)) for command in commands(block)]
    if name := file_of(block):
        (folder / name).write_text(block)
        return []
    (folder / "from_python.py").write_text(block)
    return [("python", run([sys.executable, "from_python.py"], folder))]


def main() -> None:
    """Rewrites the README's console blocks with what the commands print now."""
    text = README.read_text()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        for match, kind, block in list(blocks(text)):
            written = ""
            for command, done in run_block(kind, block, folder):
                print(f"{done.returncode}  {command}", file=sys.stderr)
                if done.returncode:
                    sys.exit(done.stdout + done.stderr)
                lines = [line.rstrip() for line in done.stdout.splitlines()]
                shown = "\n".join(lines).strip("\n").replace(str(folder), SHOWN_FOLDER)
                written += f"$ {command}\n{shown}\n" + ("\n" if shown else "")
            if kind == "console":
                text = text.replace(match.group(0), f"```console\n{written.rstrip()}\n```")
    README.write_text(text)


if __name__ == "__main__":
    main()
