"""The README and the docs: their samples run, their links lead somewhere, and they leave nothing out."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path

import pytest

import polly_state
from polly_state import settings
from polly_state.testing import available

# A sample looks for server programs where it stands, as a reader's test would at import.
pytestmark = pytest.mark.blocking

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SAMPLE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
VARIABLE = re.compile(r'"((?:REDIS|VALKEY|USE_REDIS|CONTAINER|POLLY_STATE)[A-Z_]*)"')
MANY = 15


def samples():
    for page in PAGES:
        text = page.read_text()
        for found in SAMPLE.finditer(text):
            line = text.count("\n", 0, found.start(1))
            yield pytest.param(page, line, found[1], id=f"{page.stem}:{line + 1}")


def docs():
    return "\n".join(page.read_text() for page in PAGES)


@pytest.fixture(autouse=True)
def no_redis(monkeypatch):
    for name in VARIABLE.findall(inspect.getsource(settings)):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("page", "line", "source"), list(samples()))
def test_a_sample_runs(page, line, source):
    if "available()" in source and not available():
        pytest.skip("no valkey or redis server on this machine")
    # Blank lines in front make a traceback point into the page.
    code = compile("\n" * line + source, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    coroutine = eval(code, {"__name__": "__main__"})  # noqa: S307 - it is ours
    if coroutine is not None:
        asyncio.run(coroutine)


def test_there_are_samples_to_run():
    assert len(list(samples())) >= MANY


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_link_leads_somewhere(page):
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_every_public_name_is_in_the_docs():
    assert [name for name in polly_state.__all__ if not re.search(rf"\b{name}\b", docs())] == []


def test_every_setting_is_in_its_page():
    page = (ROOT / "docs" / "settings.md").read_text()
    parts = (settings.Settings, settings.Deadlines, settings.BreakerSettings, settings.Bounds)
    fields = [field for part in parts for field in part.__annotations__]
    variables = VARIABLE.findall(inspect.getsource(settings))
    assert [name for name in (*fields, *variables) if f"`{name}`" not in page] == []


def test_defaults_in_the_settings_page_are_those_of_the_code():
    page = (ROOT / "docs" / "settings.md").read_text()
    for part in (settings.Deadlines(), settings.BreakerSettings(), settings.Bounds()):
        for field in type(part).__annotations__:
            row = re.search(rf"^\| `{field}` \| ([^|]+) \|", page, re.MULTILINE)
            assert row is not None, field
            assert str(getattr(part, field)) == row[1].strip(), field


def test_the_readme_gives_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    for command in (
        'python3 -m venv .venv && .venv/bin/pip install -e ".[demo]" && .venv/bin/polly-state demo',
        ".venv/bin/pip install nox && .venv/bin/nox",
    ):
        assert f"\n{command}\n" in readme
