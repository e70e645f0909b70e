"""What holds for every command: its two forms, its effect, and its script."""

from __future__ import annotations

import dataclasses
import inspect
import random

import pytest

from polly_state.commands import (
    ClaimLoad,
    Command,
    Condition,
    Contains,
    Count,
    Delete,
    Effect,
    Get,
    GetField,
    GetFields,
    Handed,
    HandedOut,
    Latest,
    Members,
    PatchFields,
    PatchSet,
    PutMembers,
    Queued,
    RenewLoad,
    Set,
    SetRegister,
    Stamped,
    TakeMessages,
    TakeValue,
    TimeToLive,
    ToggleField,
    companion,
)
from polly_state.commands.base import milliseconds
from polly_state.keyspace import Keyspace
from polly_state.store.rows import dump, kinds, load
from tests.test_equivalence import TABLE, Draw

every_command = pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)


def example(kind, key="ns:f:{id}"):
    return TABLE[kind](Draw(random.Random(1).choice), key)


@every_command
def test_a_command_is_slotted_data_with_one_key_and_shows_none_of_it(kind):
    command = example(kind)
    assert next(field.name for field in dataclasses.fields(kind)) == "key"
    assert not hasattr(command, "__dict__")
    assert command == dataclasses.replace(command)
    assert command != dataclasses.replace(command, key="other")
    assert "ns:f" not in repr(command)


@every_command
def test_a_command_has_an_effect_and_both_forms(kind):
    assert isinstance(kind.effect, Effect)
    for form in ("encode", "decode", "apply"):
        assert getattr(kind, form) is not getattr(Command, form)


@every_command
def test_a_read_changes_nothing_and_a_write_says_so(kind):
    reads = kind in {Contains, Count, Get, GetField, GetFields, Latest, Members, Queued, TimeToLive}
    assert reads is (kind.effect is Effect.READ)
    if reads:
        keyspace = Keyspace()
        example(kind).apply(keyspace)
        assert len(keyspace) == 0


@every_command
def test_only_stamped_writes_and_reads_are_repeatable(kind):
    assert kind.effect.repeatable is (kind.effect in (Effect.READ, Effect.DURABLE))
    assert issubclass(kind, Stamped) <= kind.effect.repeatable


@every_command
def test_keys_on_the_wire_share_a_slot(kind):
    words = example(kind).encode()
    if kind.script is None:
        assert words[1] == "ns:f:{id}"
    else:
        assert ("EVALSHA", kind.script.digest, 2) == words[:3]
        assert words[3] == "ns:f:{id}"
        assert words[4] in ("ns:~m:f:{id}", "ns:~m:~load:f:{id}")


#: What a command comes to, if that is not True.
RESULTS = {
    PutMembers: ("gone",),
    TakeValue: b"x",
    TakeMessages: HandedOut([Handed("1" * 24, b"1", "", 2)], 1),
}


@every_command
def test_what_is_sent_later_says_what_to_set_and_not_what_to_change(kind):
    keyspace = Keyspace()
    command = example(kind)
    if isinstance(command, Stamped):
        command = command.restamped("0" * 24)
    for part in command.settled(RESULTS.get(kind, True), "f" * 24):
        assert part.key == command.key
        assert not isinstance(part, ToggleField)
        assert part.effect in (Effect.DURABLE, Effect.CACHE)
        part.apply(keyspace)
    # Who loads an entry matters only for the moment.
    of_the_moment = kind.effect is Effect.READ or kind in (ClaimLoad, RenewLoad)
    assert (command.settled(RESULTS.get(kind, True), "f" * 24) == ()) is of_the_moment


def test_a_condition_that_held_is_settled_without_it():
    claim = SetRegister("k", "0" * 24, b"1", condition=Condition.IF_ABSENT)
    assert claim.settled(True, "1" * 24) == (SetRegister("k", "1" * 24, b"1"),)
    assert claim.settled(False, "1" * 24) == ()


def test_a_toggle_is_settled_as_the_state_it_came_to():
    toggle = ToggleField("k", "0" * 24, "f", b"on", b"off", 5.0)
    assert toggle.settled(True, "1" * 24) == (PatchFields("k", "1" * 24, {"f": b"on"}, 5.0),)
    assert toggle.settled(False, "1" * 24) == (PatchFields("k", "1" * 24, {"f": b"off"}, 5.0),)


def test_a_patch_is_settled_field_by_field_and_later_ones_take_their_slots():
    patch = PatchFields("k", "0" * 24, {"a": b"1", "b": None})
    parts = patch.settled(True, "1" * 24)
    assert [part.changes for part in parts] == [{"a": b"1"}, {"b": None}]
    assert len({part.slot for part in parts}) == 2
    later = PatchFields("k", "2" * 24, {"a": b"2"}).settled(True, "3" * 24)
    assert parts[0].slot == later[0].slot


def test_a_patch_of_a_set_is_settled_member_by_member():
    parts = PatchSet("k", "0" * 24, {"a": True, "b": False}, 5.0).settled(True, "1" * 24)
    assert parts == (PatchSet("k", "0" * 24, {"a": True}, 5.0), PatchSet("k", "0" * 24, {"b": False}, 5.0))
    assert [part.tombstone for part in parts] == [False, True]
    assert len({part.slot for part in parts}) == 2


@every_command
def test_what_is_kept_on_disk_comes_back_as_it_was(kind):
    command = example(kind)
    if isinstance(command, Stamped):
        command = command.restamped("0" * 24)
    for part in command.settled(RESULTS.get(kind, True), "f" * 24):
        assert load(kinds()[type(part).__name__], part.key, dump(part)) == part


@every_command
def test_what_has_a_ttl_can_be_prolonged(kind):
    command = example(kind)
    if isinstance(command, Stamped) and hasattr(command, "ttl"):
        command = dataclasses.replace(command.restamped("0" * 24), ttl=5.0)
        assert command.expires_at == 5.0
        assert command.ending(9.0).expires_at == 9.0


def test_a_cache_write_is_settled_by_deleting_what_is_stale():
    assert Set("k", b"1").settled(True, "0" * 24) == (Delete("k"),)


def test_the_companion_is_in_the_slot_of_its_key():
    assert companion("ns:family:{1:2}") == "ns:~m:family:{1:2}"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, ""), (1, 1000), (0.25, 250), (0.0001, 1), (1.0004, 1000), (1e9, 10**12)]
)
def test_times_are_milliseconds_on_the_wire_only(seconds, expected):
    assert expected == milliseconds(seconds)


def test_the_abstract_command_does_nothing():
    for form, arguments in (("encode", ()), ("decode", (None,)), ("apply", (Keyspace(),))):
        with pytest.raises(NotImplementedError):
            getattr(Command("k"), form)(*arguments)


def test_scripts_are_small_and_known_by_their_digest():
    scripts = {kind.script for kind in TABLE if kind.script is not None}
    assert len({script.digest for script in scripts}) == len(scripts)
    for script in scripts:
        assert len(script.digest) == 40
        assert len(script.source) < 9000


def test_every_condition_is_a_word_that_redis_knows():
    assert {"", "NX", "XX"} == {condition.value for condition in Condition}
    assert inspect.isclass(Condition)
