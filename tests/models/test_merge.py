"""Merge: replicas that get the same durable writes in any order, some of them twice, end up the same."""

from __future__ import annotations

import random
import secrets
import time

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from polly_state.commands import (
    Add,
    Append,
    ClearFields,
    ClearLog,
    ClearSet,
    Enqueue,
    PatchFields,
    PatchSet,
    SetRegister,
    ToggleField,
    companion,
    load_scripts,
    stamp_of,
)
from polly_state.keyspace import Keyspace
from polly_state.stamps import HybridClock
from tests.models.writers import (
    CLEARS,
    COUNTERS,
    FIELDS,
    HASHES,
    KEYS,
    LIMIT,
    LOGS,
    LONG,
    QUEUES,
    REGISTERS,
    SETS,
    Totals,
    contents,
    deliver,
    held,
    ttl_of,
    ttls,
)

pytestmark = pytest.mark.blocking

ON, OFF = b"true", b"false"
ORIGINS = ("0000000a", "0000000b", "0000000c")
# The writers' clocks are minutes apart; how long a command was on its way is no difference.
ROUGHLY = 20


class Local:
    """A replica in process. A total counts from the first addition on that it has seen of an origin."""

    def __init__(self):
        self.keyspace = Keyspace(clock=time.time)

    def take(self, command):
        deliver(command, self.keyspace)

    def read(self):
        return held(self.keyspace)

    def forget(self):
        pass


class Remote:
    """Redis, through the Lua scripts; its keys are of a namespace of its own."""

    def __init__(self, connection):
        self._connection = connection
        self._namespace = secrets.token_hex(4)

    def take(self, command):
        key = self._own(command.key)
        script, digest, keys, *_ = words = command.encode()
        try:
            self._connection.execute_command(script, digest, keys, key, companion(key), *words[5:])
        except redis.exceptions.NoScriptError:
            self._connection.script_load(command.script.source)
            self.take(command)
        except redis.exceptions.ResponseError as error:
            if not str(error).startswith("OUTDATED"):
                raise

    def read(self):
        found = {}
        for key in KEYS:
            own = self._own(key)
            if self._connection.exists(own):
                left = self._connection.pttl(own)
                found[key] = (self._content(key, own), None if left < 0 else time.time() + left / 1000)
        return found

    def _content(self, key, own):
        if key in HASHES:
            return {field.decode(): content for field, content in self._connection.hgetall(own).items()}
        if key in SETS:
            return {member.decode(): b"" for member in self._connection.smembers(own)}
        if key in LOGS:
            return {entry[:24].decode(): entry[24:] for entry in self._connection.zrange(own, 0, -1)}
        if key in QUEUES:
            return {parts[b"id"].decode(): parts[b"content"] for _, parts in self._connection.xrange(own)}
        return self._connection.get(own)

    def forget(self):
        for key in KEYS:
            self._connection.delete(self._own(key), companion(self._own(key)))

    def _own(self, key):
        return self._namespace + key[1:]


class Merged:
    """What all of the writes come to, whatever their order."""

    def __init__(self, writes):
        self._newest, self._totals, self._ends = {}, {}, {}
        for write in sorted(writes, key=stamp_of):
            key, ends = write.key, write.expires_at
            match write:
                case ClearFields() | ClearSet() | ClearLog():
                    self._newest = {slot: content for slot, content in self._newest.items() if slot[0] != key}
                case SetRegister():
                    self._newest[key, None] = write.content
                    self._ends[key] = ends
                case PatchFields():
                    self._newest |= {(key, field): content for field, content in write.changes.items()}
                    self._ends[key] = ends
                case PatchSet():
                    self._newest |= {(key, name): b"" if there else None for name, there in write.changes.items()}
                    self._ends[key] = ends
                case Append() | Enqueue():
                    self._newest[key, write.stamp] = write.content
                    self._ends[key] = ends
                case Add():
                    slot = (key, write.origin, write.by > 0)
                    self._totals[slot] = max(write.total, self._totals.get(slot, 0))
                    self._ends[key] = ends

    def read(self):
        found = {}
        for (key, field), content in self._newest.items():
            if content is not None and field is None:
                found[key] = content
            elif content is not None:
                found.setdefault(key, {})[field] = content
        for key in LOGS:
            if key in found:
                found[key] = dict(sorted(found[key].items())[-LIMIT:])
        counts = {}
        for (key, _, up), total in self._totals.items():
            counts[key] = counts.get(key, 0) + (total if up else -total)
        found |= {key: b"%d" % count for key, count in counts.items()}
        return {key: (content, self._ends[key]) for key, content in found.items()}


def contents_of(found):
    return {key: content for key, (content, _) in found.items()}


class Merge(RuleBasedStateMachine):
    """Three writers, two replicas in process, and one Redis. What is lost on the way is sent again, later."""

    connection: redis.Redis

    @initialize(seed=st.integers(0, 1 << 16))
    def begin(self, seed):
        self.chance = random.Random(seed)
        self.clocks = [HybridClock(origin) for origin in ORIGINS]
        # Clocks that are minutes apart, as they are before they have met.
        for clock, ahead in zip(self.clocks, (0.0, 0.4, -250.0), strict=True):
            clock.follow(time.time() + ahead, 0.0)
        self.totals, self.writes = Totals(), []
        self.replicas = [Local(), Local(), Remote(self.connection)]
        self.on_the_way = [[] for _ in self.replicas]
        self.arrived = [[] for _ in self.replicas]

    def send(self, *commands):
        self.writes += commands
        for way in self.on_the_way:
            way.extend(commands)

    @rule(data=st.data(), writer=st.integers(0, 2))
    def sets_a_register(self, data, writer):
        key = data.draw(st.sampled_from(REGISTERS))
        self.send(SetRegister(key, self.clocks[writer].stamp(), data.draw(contents), data.draw(ttls)))

    @rule(data=st.data(), writer=st.integers(0, 2))
    def patches(self, data, writer):
        key, changes = (
            data.draw(st.sampled_from(HASHES)),
            data.draw(st.dictionaries(st.sampled_from(FIELDS), contents, min_size=1)),
        )
        command = PatchFields(key, self.clocks[writer].stamp(), changes, ttl_of(key, LONG))
        self.send(*command.settled(True, command.stamp))

    @rule(key=st.sampled_from(HASHES), field=st.sampled_from(FIELDS), on=st.booleans(), writer=st.integers(0, 2))
    def toggles(self, key, field, on, writer):
        clock = self.clocks[writer]
        self.send(*ToggleField(key, clock.stamp(), field, ON, OFF, ttl_of(key, LONG)).settled(on, clock.stamp()))

    @rule(
        key=st.sampled_from(SETS),
        changes=st.dictionaries(st.sampled_from(FIELDS), st.booleans(), min_size=1),
        data=st.data(),
    )
    def patches_a_set(self, key, changes, data):
        command = PatchSet(key, self.clocks[data.draw(st.integers(0, 2))].stamp(), changes, ttl_of(key, LONG))
        self.send(*command.settled(True, command.stamp))

    @rule(key=st.sampled_from(LOGS), content=st.sampled_from([b"", b"1"]), writer=st.integers(0, 2))
    def appends(self, key, content, writer):
        self.send(Append(key, self.clocks[writer].stamp(), content, LIMIT, ttl_of(key, LONG)))

    @rule(key=st.sampled_from(QUEUES), content=st.sampled_from([b"", b"1"]), writer=st.integers(0, 2))
    def enqueues(self, key, content, writer):
        self.send(Enqueue(key, self.clocks[writer].stamp(), content, ttl_of(key, LONG)))

    @rule(key=st.sampled_from(sorted(CLEARS)), writer=st.integers(0, 2))
    def clears(self, key, writer):
        self.send(CLEARS[key](key, self.clocks[writer].stamp()))

    @rule(key=st.sampled_from(COUNTERS), by=st.sampled_from([1, 7, -2]), writer=st.integers(0, 2))
    def adds(self, key, by, writer):
        self.send(self.totals.add(key, self.clocks[writer].stamp(), ORIGINS[writer], by, LONG))

    @precondition(lambda self: self.writes)
    @rule(replica=st.integers(0, 2), count=st.integers(1, 5))
    def some_arrive(self, replica, count):
        for _ in range(min(count, len(self.on_the_way[replica]))):
            self.one_arrives(replica)

    @precondition(lambda self: self.writes)
    @rule(replica=st.integers(0, 2))
    def one_comes_again(self, replica):
        if self.arrived[replica]:
            self.replicas[replica].take(self.chance.choice(self.arrived[replica]))

    def one_arrives(self, replica):
        way = self.on_the_way[replica]
        command = self.chance.choice(way)
        if isinstance(command, Add) and isinstance(self.replicas[replica], Local):
            # In process the additions of one origin come as they were made.
            command = next(
                each for each in way if isinstance(each, Add) and (each.key, each.slot) == (command.key, command.slot)
            )
        way.remove(command)
        self.arrived[replica].append(command)
        self.replicas[replica].take(command)

    def teardown(self):
        if not hasattr(self, "writes"):
            return
        try:
            for replica, way in enumerate(self.on_the_way):
                while way:
                    self.one_arrives(replica)
                    if self.chance.random() < 0.2:
                        self.one_comes_again(replica)
            expected = Merged(self.writes).read()
            for found in (replica.read() for replica in self.replicas):
                assert contents_of(expected) == contents_of(found)
                for key, (_, ends) in expected.items():
                    assert found[key][1] == (ends and pytest.approx(ends, abs=ROUGHLY))
        finally:
            self.replicas[2].forget()


PROFILE = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
)


@pytest.fixture(params=["redis", "valkey"])
def connection(request):
    server = request.getfixturevalue(f"{request.param}_server")
    with redis.Redis.from_url(server.url, protocol=3) as connection:
        yield connection


def test_any_order_comes_to_the_same(connection):
    load_scripts()

    class Here(Merge):
        pass

    Here.connection = connection
    run_state_machine_as_test(Here, settings=PROFILE)
