"""The CPythons of this machine: Debian's, and every version under `pyenv root`/versions."""
import functools
import pathlib
import shutil
import subprocess

import pytest

SUPPORTED = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
DEBIAN = pathlib.Path("/usr/bin/python3")


@functools.lru_cache(maxsize=None)
def installed():
    """{"3.8": path, ...}, the newest patch release of each; Debian's own is "debian"."""
    found = {"debian": DEBIAN}
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout.strip()
        folders = pathlib.Path(root, "versions").glob("*.*.*")
        for folder in sorted(folders, key=lambda f: [int(n) if n.isdigit() else 0 for n in f.name.split(".")]):
            python = folder / "bin" / "python"
            if python.exists():
                found[".".join(folder.name.split(".")[:2])] = python
    return found


def python(name):
    """Its path; skips the test where it is not installed."""
    if name not in installed():
        pytest.skip("CPython %s is not installed under pyenv" % name)
    return installed()[name]


ALL = ("debian",) + SUPPORTED
every = pytest.mark.parametrize("name", ALL)
