"""Checks that run the same everywhere: `nox` for the quick ones, `nox -s NAME` for one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

GROUPS = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
# Tests run last, so that their summary is what a log ends with.
nox.options.sessions = ["lint", "typing", "tests"]


def show_pyenv() -> None:
    """Put the Pythons of pyenv on the path; its shims only start the one that is switched on."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    bins = [str(path) for path in sorted(root.glob("versions/3.*/bin"))]
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *bins])


def install(session: nox.Session, *groups: str) -> None:
    """Install the package and the dependency groups *groups*; pip need not know groups."""
    session.install("-e", ".", *nox.project.dependency_groups(GROUPS, *groups))


show_pyenv()


@nox.session
def lint(session: nox.Session) -> None:
    """Find style faults; `nox -s lint -- --fix` mends them."""
    session.install(*nox.project.dependency_groups(GROUPS, "lint"))
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []), ".")
    session.run("ruff", "format", *([] if fix else ["--check"]), ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types, with both checkers at their strictest."""
    install(session, "typing")
    session.run("mypy")
    session.run("pyright")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; `nox -s tests-3.13 -- -k outage` for some of them."""
    install(session, "test")
    first = next((version for version in PYTHONS if shutil.which(f"python{version}")), session.python)
    all_of_them = () if session.python == first else ("-m", "not long and not once")
    # Two at a time: many of them wait for a server or a process.
    session.run("pytest", *(session.posargs or ("-n", "2", *all_of_them)))


@nox.session
def chaos(session: nox.Session) -> None:
    """Hurt Redis and see what is lost: `nox -s chaos -- --json FILE --seed N --only C3`, or `-- --short`."""
    install(session, "test")
    session.run("python", "-m", "tests.chaos", *session.posargs)


@nox.session
def endurance(session: nox.Session) -> None:
    """Use inboxes and locks for long, killing whoever does: `nox -s endurance -- --only inbox`, or `-- --short`."""
    install(session, "test")
    session.run("python", "-m", "tests.endurance", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Run every sample of the README and the docs."""
    install(session, "test")
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure: `nox -s bench -- NAME --json FILE`."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)
