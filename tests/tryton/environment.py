"""What a run needs and keeps for the next one: Tryton in a virtual environment, a shop to copy, and what the
shop comes to without Talon.

Each is made once in the cache folder, and again when what it is made from changes. A stamp written last says that
it is whole: what an interrupted run left behind has none.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PASSWORD = "not used: the client library logs in by itself"


class Environment:
    """Tryton as installed, the template database, and the folder for what a shop without Talon comes to."""

    def __init__(self, cache):
        self.folder = cache / "venv"
        self.template = cache / "template"
        self.bare = cache / "bare"
        self.python = self.folder / "bin" / "python"
        self.admin = self.folder / "bin" / "trytond-admin"

    def run(self, arguments, limit_seconds, **variables):
        """Run a program of this environment; what it printed is shown when it fails."""
        result = subprocess.run(
            [str(argument) for argument in arguments], env=self.variables(**variables),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=limit_seconds)
        if result.returncode:
            command = " ".join(str(argument) for argument in arguments)
            raise RuntimeError(f"{command}\nended with {result.returncode}:\n{result.stdout}")

    @staticmethod
    def variables(**variables):
        """What a program of this environment is to see of the one around it, and these."""
        # A fixed hash seed: Tryton writes its log in the order of a set, and two runs are to be compared.
        variables["PYTHONHASHSEED"] = "0"
        inherited = {name: value for name, value in os.environ.items()
                     if not name.startswith(("TALON_", "TRYTOND", "PYTHON"))}
        return {**inherited, **variables}

    def copy_template(self, folder):
        """A shop of its own for one run."""
        folder.mkdir()
        configure(folder)
        source = sqlite3.connect(self.template / "tryton.sqlite")
        copy = sqlite3.connect(folder / "tryton.sqlite")
        with contextlib.closing(source), contextlib.closing(copy):
            source.backup(copy)
        return folder / "tryton.sqlite"


def configure(folder):
    (folder / "trytond.conf").write_text(f"[database]\nuri = sqlite://\npath = {folder}\n")


# What a shop without Talon comes to hangs on these.
BARE = ["application.py", "connections.py", "database.py", "environment.py", "run.py", "shop.py", "template.py"]


def prepare(cache, work_bare=None):
    """The environment, installed and set up where the cache does not hold it as it should be.

    `work_bare` fills the folder `bare` of an environment that is otherwise whole, where that is wanted.
    """
    cache.mkdir(parents=True, exist_ok=True)
    environment = Environment(cache)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test programs of two profiles share the cache
        installed = stamp([HERE / "requirements.txt"], sys.version, sqlite3.sqlite_version, str(cache))
        build(environment.folder, installed, lambda: install(environment))
        scripts = [HERE / name for name in ("template.py", "application.py", "connections.py", "environment.py")]
        build(environment.template, stamp(scripts, installed), lambda: initialise(environment))
        if work_bare:
            scripts = [HERE / name for name in BARE]
            build(environment.bare, stamp(scripts, installed), lambda: work_bare(environment))
    return environment


def stamp(files, *more):
    digest = hashlib.sha256()
    for part in [file.read_bytes() for file in files] + [text.encode() for text in more]:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def build(folder, wanted, make):
    """Make what belongs in this folder, unless it is there already."""
    seal = folder / "made-from"
    if seal.exists() and seal.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    make()
    seal.write_text(wanted)


def install(environment):
    venv.create(environment.folder, symlinks=True, with_pip=True)
    environment.run(
        [environment.python, "-m", "pip", "install", "--quiet", "--no-input",
         "--disable-pip-version-check", "--requirement", HERE / "requirements.txt"],
        limit_seconds=200)


def initialise(environment):
    folder = environment.template
    configure(folder)
    (folder / "password").write_text(PASSWORD)
    (folder / "tryton.sqlite").touch()
    environment.run(
        [environment.admin, "-c", folder / "trytond.conf", "-d", "tryton", "--email", "a@example.org",
         "-u", "sale", "--activate-dependencies"],
        limit_seconds=150, TRYTONPASSFILE=str(folder / "password"))
    environment.run([environment.python, "-B", HERE / "template.py", folder], limit_seconds=60)
