"""Preferences: off until turned on, toggled exactly, imported whole or not at all."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from polly_state import Ack, PollyState, Settings

SHARED = Path(__file__).parents[3] / "shared" / "data" / "voice_preferences.json"


@pytest.fixture
async def preferences():
    async with PollyState(Settings()) as state:
        yield state.preferences


def written(folder, content):
    path = folder / "preferences.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


async def test_a_switch_is_off_until_it_is_turned_on(preferences):
    assert await preferences.is_enabled(1, "bot") is False
    await preferences.set(1, "bot", True)
    assert await preferences.is_enabled(1, "bot") is True
    assert await preferences.is_enabled(1, "other") is False
    assert await preferences.is_enabled(2, "bot") is False
    await preferences.set(1, "bot", False)
    assert await preferences.is_enabled(1, "bot") is False


async def test_a_read_never_fails_and_says_where_it_comes_from(preferences):
    assert (await preferences.read(1, "bot")).value is False
    await preferences.set(1, "bot", True)
    assert (await preferences.read(1, "bot")).value is True


async def test_toggles_at_once_are_all_felt(preferences):
    states = await asyncio.gather(*(preferences.toggle(1, "bot") for _ in range(51)))
    assert states.count(True) == 26
    assert await preferences.is_enabled(1, "bot") is True


async def test_all_of_a_user_and_of_nobody_else(preferences):
    await preferences.set(1, "MyBot", True)
    await preferences.set(1, "namespace:bot:v1", False)
    await preferences.set(11, "MyBot", True)
    assert await preferences.all(1) == {"MyBot": True, "namespace:bot:v1": False}
    await preferences.delete(1, "MyBot")
    assert await preferences.all(1) == {"namespace:bot:v1": False}
    assert await preferences.all(2) == {}


async def test_a_file_is_taken_over(preferences, tmp_path):
    path = written(tmp_path, {"1:a": True, "1:b:c": False, "2:a": True})
    done = await preferences.import_file(path)
    assert (done.users, done.preferences, done.ack) == (2, 3, Ack.LOCAL_VOLATILE)
    assert await preferences.all(1) == {"a": True, "b:c": False}
    assert await preferences.all(2) == {"a": True}


async def test_an_import_leaves_other_switches_alone_and_may_be_repeated(preferences, tmp_path):
    await preferences.set(1, "kept", True)
    path = written(tmp_path, {"1:a": True})
    assert await preferences.import_file(path) == await preferences.import_file(path)
    assert await preferences.all(1) == {"kept": True, "a": True}


async def test_an_empty_file_of_the_form_imports_nothing(preferences, tmp_path):
    assert (await preferences.import_file(written(tmp_path, {})))[:2] == (0, 0)


async def test_the_real_file_is_taken_over(preferences):
    if not SHARED.exists():
        pytest.skip("the shared preferences are not on this machine")
    assert (await preferences.import_file(SHARED))[:2] == (2, 4)
    expected = {"TestBot": True, "MyBot": False, "namespace:bot:v1": True}
    assert expected == await preferences.all(123456)
    assert await preferences.all(99999) == {"e2e_test_bot": False}


BAD = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b'"text"',
    {"1:a": 1},
    {"1:a": "true"},
    {"1:a": None},
    {"1": True},
    {"1:": True},
    {":a": True},
    {"x:a": True},
    {"-1:a": True},
    {"1.5:a": True},
    {"\u0661:a": True},
    {"1:" + "x" * 513: True},
    b'{"1:\\ud800": true}',
]


@pytest.mark.parametrize("content", BAD)
async def test_a_file_of_another_form_is_refused_and_nothing_is_written(preferences, tmp_path, content):
    if isinstance(content, dict):
        content = {"7:good": True, **content}
    with pytest.raises(ValueError):
        await preferences.import_file(written(tmp_path, content))
    assert await preferences.all(7) == {}
    assert await preferences.all(1) == {}


async def test_a_file_that_is_not_there_is_an_os_error(preferences, tmp_path):
    with pytest.raises(FileNotFoundError):
        await preferences.import_file(tmp_path / "none.json")


async def test_no_error_repeats_the_file(preferences, tmp_path):
    with pytest.raises(ValueError) as refused:
        await preferences.import_file(written(tmp_path, {"secret-user:secret-bot": True}))
    assert "secret" not in str(refused.value)
