"""Virtual environments that share this interpreter's packages, for what is installed in tests."""

import site
import subprocess
import sys
import sysconfig
from pathlib import Path


def make_environment(folder: Path) -> str:
    """Make an environment whose own packages come before this interpreter's; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = str(folder / "bin" / "python")
    here = [sysconfig.get_path("purelib"), *sys.path, *site.getsitepackages()]
    shared = dict.fromkeys(p for p in here if p.endswith(("site-packages", "dist-packages")))
    own = next((folder / "lib").glob("python*")) / "site-packages"
    (own / "shared.pth").write_text("\n".join(shared))
    return python


def install(python: str, *what: str) -> None:
    """Install without network, dependencies or a build environment of its own."""
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
             "--force-reinstall", "--disable-pip-version-check"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, *words, *what],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
