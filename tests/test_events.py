"""Events: every observer is told, and the log says what matters at the level it deserves."""

from __future__ import annotations

import logging
from typing import get_args

import pytest

from polly_state import Mode, PollyState, Settings, events
from polly_state.events import (
    CacheEntryUnreadable,
    CircuitChanged,
    ConnectionLost,
    ConnectionOpened,
    Event,
    EventLog,
    EvictingServer,
    MessagePutAside,
    MessageUnreadable,
    ModeChanged,
    OperationDead,
    Replayed,
    ServerLoss,
    notify_all,
)
from polly_state.testing import Clock

EXAMPLES = {
    ConnectionOpened("h:1/0", 0.1): logging.DEBUG,
    ConnectionLost("h:1/0", "reset", 1, 2): logging.DEBUG,
    CircuitChanged("link", "open", "no answer"): logging.DEBUG,
    ModeChanged(Mode.CONNECTED, Mode.DEGRADED, "no answer", 1.0): logging.WARNING,
    ModeChanged(Mode.CONNECTED, Mode.READ_ONLY, "OOM", 1.0): logging.WARNING,
    ModeChanged(Mode.CONNECTED, Mode.MISCONFIGURED, "password", 1.0): logging.WARNING,
    ModeChanged(Mode.DEGRADED, Mode.RECOVERING, "", 1.0): logging.INFO,
    ModeChanged(Mode.RECOVERING, Mode.CONNECTED, "", 1.0): logging.INFO,
    Replayed(1, 0, 1): logging.DEBUG,
    Replayed(1, 0, 0): logging.INFO,
    OperationDead("SetRegister", "WRONGTYPE"): logging.WARNING,
    ServerLoss(1, 0): logging.WARNING,
    EvictingServer("allkeys-lru"): logging.WARNING,
    CacheEntryUnreadable("guilds"): logging.WARNING,
    MessagePutAside("inboxes", "foreign"): logging.WARNING,
    MessageUnreadable("moves"): logging.WARNING,
}


def test_every_event_has_an_example():
    assert set(get_args(Event)) == {type(event) for event in EXAMPLES}


@pytest.mark.parametrize(("event", "level"), EXAMPLES.items())
def test_an_event_is_frozen_data_and_logged_at_its_level(event, level, caplog):
    with pytest.raises(AttributeError):
        setattr(event, next(iter(type(event).__annotations__)), None)
    with caplog.at_level(logging.DEBUG, "polly_state"):
        EventLog()(event)
    assert [("polly_state", level, str(event))] == caplog.record_tuples


def test_an_observer_that_fails_stops_nobody(caplog):
    told = []

    def failing(event):
        raise ZeroDivisionError

    event = Replayed(1, 0, 0)
    notify_all((told.append, failing, told.append), event)
    assert [event, event] == told
    assert "an observer failed at Replayed" in caplog.text


async def test_an_embedded_state_has_nothing_to_tell():
    told = []
    async with PollyState(Settings(), observers=[told.append]) as state:
        await state.map("x", int).set("a", 1)
        assert state.mode is Mode.EMBEDDED
    assert told == []


def test_every_event_is_public_in_its_module():
    assert {event.__name__ for event in get_args(Event)} <= set(events.__all__)


def test_what_repeats_itself_is_counted_and_not_written(caplog):
    time = Clock()
    log = EventLog(time)
    with caplog.at_level(logging.DEBUG, "polly_state"):
        for number in range(25):
            log(ServerLoss(number, 0))
        log(Replayed(1, 0, 0))
        assert len(caplog.records) == 11
        time.advance(60.0)
        log(ServerLoss(26, 0))
    assert "15 more like this were not logged: ServerLoss" in caplog.text
    assert str(ServerLoss(26, 0)) in caplog.text
    assert str(ServerLoss(9, 0)) in caplog.text
    assert str(ServerLoss(10, 0)) not in caplog.text
