"""Locks, semaphores, leases and tokens: one holder at a time, told before it is lost, and the same on every store."""

from __future__ import annotations

import asyncio

import pytest

from polly_state import Fate, LeaseLost, LockTaken, PollyState, UnsupportedValue
from polly_state.cluster import Cluster
from polly_state.commands import Acquire, Holder, Release
from polly_state.structures import Binding, Family, Leases, Locks, Semaphore, Tokens, Watchdog, holding

LONG = 60.0


@pytest.fixture
async def watchdog():
    watchdog = Watchdog()
    yield watchdog
    await watchdog.aclose(1.0)


@pytest.fixture
def binding(store):
    return Binding(store.store, Family(store.key().partition(":")[0], "t"), None, 1000)


@pytest.fixture
def locks(binding, watchdog):
    return Locks(binding, watchdog, LONG)


@pytest.fixture
def semaphore(binding, watchdog):
    return Semaphore(binding, watchdog, LONG, 3)


async def test_a_lock_is_held_by_one_at_a_time(locks):
    inside, most, fences = 0, 0, []

    async def work():
        nonlocal inside, most
        async with locks.hold("a") as lease:
            assert lease.held
            inside += 1
            most = max(most, inside)
            fences.append(lease.fence)
            await asyncio.sleep(0)
            inside -= 1

    async with asyncio.timeout(20):
        await asyncio.gather(*(work() for _ in range(12)))
    assert most == 1
    assert fences == sorted(set(fences))


async def test_a_semaphore_is_held_by_so_many(semaphore):
    inside, most, full = 0, 0, asyncio.Event()

    async def work():
        nonlocal inside, most
        async with semaphore.hold("a"):
            inside += 1
            most = max(most, inside)
            if inside == 3:
                full.set()
            await full.wait()
            await asyncio.sleep(0.01)
            inside -= 1

    async with asyncio.timeout(20):
        await asyncio.gather(*(work() for _ in range(9)))
    assert most == 3


async def test_taken_is_none_or_an_error_and_soon(locks):
    lease = await locks.try_acquire("a")
    assert await locks.try_acquire("a") is None
    for timeout in (0, 0.02):
        with pytest.raises(LockTaken):
            await locks.acquire("a", timeout=timeout)
    assert (await locks.acquire("b", timeout=0)).held
    assert await lease.release() is True
    assert not lease.held
    assert (await locks.acquire("a", timeout=0)).held


async def test_a_task_behind_others_gives_up_in_time(locks):
    await locks.acquire("a")
    results = await asyncio.wait_for(
        asyncio.gather(*(locks.acquire("a", timeout=0.05) for _ in range(5)), return_exceptions=True), 10
    )
    assert [type(each) for each in results] == [LockTaken] * 5


async def test_a_release_wakes_who_waits_in_the_same_process(locks, monkeypatch):
    for pause in ("LOOK", "DEAF", "LONGEST_DEAF"):
        monkeypatch.setattr(holding, pause, 1000.0)
    lease = await locks.acquire("a")
    waiter = asyncio.create_task(locks.acquire("a"))
    await asyncio.sleep(0.05)
    await lease.release()
    assert (await asyncio.wait_for(waiter, 10)).held


async def test_a_cancelled_waiter_leaves_nothing_behind(store, locks, watchdog):
    lease = await locks.acquire("a")
    waiters = [asyncio.create_task(locks.acquire("a")) for _ in range(5)]
    await asyncio.sleep(0.02)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    await lease.release()
    assert (await asyncio.wait_for(locks.acquire("a"), 5)).held
    assert len(watchdog) == 1


async def test_a_block_that_raises_lets_go(locks):
    with pytest.raises(ZeroDivisionError):
        async with locks.hold("a"):
            raise ZeroDivisionError
    with pytest.raises(TimeoutError):
        async with locks.hold("a"):
            raise TimeoutError
    task = asyncio.create_task(hold_for_ever(locks))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await asyncio.wait_for(locks.acquire("a"), 5)).held


async def hold_for_ever(locks):
    async with locks.hold("a"):
        await asyncio.sleep(LONG)


async def test_who_lets_go_inside_the_block_goes_on(store, locks):
    async with locks.hold("a") as lease:
        await lease.release()
        other = await locks.acquire("a", timeout=0)
        await asyncio.sleep(0)
    assert other.held


async def test_a_block_whose_lock_was_taken_over_is_cancelled(store, binding, watchdog):
    locks = Locks(binding, watchdog, 0.15)
    seen = []

    async def work():
        async with locks.hold("a") as lease:
            seen.append(lease)
            await steal(store, "a")
            await asyncio.sleep(10)
            seen.append("passed")

    with pytest.raises(LeaseLost):
        await work()
    assert [each.held for each in seen] == [False]
    assert (await store.do(Holder(Family(store.key().partition(":")[0], "t").key("a")))).token == "thief"


async def test_a_block_that_ends_after_its_lock_was_lost_says_so(store, binding, watchdog):
    locks = Locks(binding, watchdog, 0.15)

    async def stubborn():
        async with locks.hold("a") as lease:
            await steal(store, "a")
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                assert not lease.held

    with pytest.raises(LeaseLost):
        await stubborn()


async def steal(store, name):
    key = Family(store.key().partition(":")[0], "t").key(name)
    held = await store.do(Holder(key))
    await store.do(Release(key, held.token))
    assert (await store.do(Acquire(key, "thief", LONG))).granted


async def test_what_is_held_is_renewed_in_one_round_for_all(store, binding, watchdog):
    locks = Locks(binding, watchdog, 0.3)
    leases = [await locks.acquire(number) for number in range(50)]
    rounds = watchdog.rounds
    ends = asyncio.get_running_loop().time() + 0.5
    while asyncio.get_running_loop().time() < ends:
        await asyncio.sleep(0.02)
        assert all(lease.held for lease in leases)
    assert 3 <= watchdog.rounds - rounds <= 7
    assert all(await asyncio.gather(*(lease.release() for lease in leases)))
    assert len(watchdog) == 0


async def test_the_watchdog_rests_when_nothing_is_held(locks, watchdog):
    lease = await locks.acquire("a")
    await lease.release()
    await watchdog.aclose(1.0)
    assert watchdog.rounds == 0


async def test_work_is_led_by_one_and_handed_on(locks):
    terms = []

    async def work(lease):
        terms.append(lease.fence)
        assert len(terms) == 1 or terms[-1] > terms[-2]
        await asyncio.sleep(0.01)

    async with asyncio.timeout(10):
        await asyncio.gather(*(locks.lead("a", work) for _ in range(4)))
    assert len(set(terms)) == 4


async def test_a_leader_who_is_deposed_leads_again_later(store, binding, watchdog):
    locks = Locks(binding, watchdog, 0.15)
    terms = []

    async def work(lease):
        terms.append(lease.fence)
        if len(terms) == 1:
            key = Family(store.key().partition(":")[0], "t").key("a")
            held = await store.do(Holder(key))
            await store.do(Release(key, held.token))
            await asyncio.sleep(10)

    await asyncio.wait_for(locks.lead("a", work), 10)
    assert len(terms) == 2
    assert terms[1] > terms[0]


@pytest.mark.parametrize("name", ["r?", "r*", "{a}", "語\n", ("a", 1), "x" * 4000])
async def test_any_id_has_a_lock_of_its_own(locks, name):
    async with locks.hold(name):
        assert await locks.try_acquire(name) is None
        assert await locks.try_acquire("a") is not None


async def test_a_lease_goes_from_pending_to_running_and_is_taken_over(store, binding):
    leases = Leases(binding)
    assert await leases.holder("room") is None
    mine = await leases.claim("room", "pod-1", ttl=60)
    assert (mine.granted, mine.owner, mine.phase) == (True, "pod-1", "pending")
    theirs = await leases.claim("room", "pod-2", ttl=60, stale=30)
    assert (theirs.granted, theirs.owner, theirs.fence) == (False, "pod-1", mine.fence)
    assert await leases.advance("room", "pod-2", ttl=60) is False
    assert await leases.advance("room", "pod-1", ttl=86_400) is True
    assert await leases.keep_alive("room", "pod-1", ttl=86_400) is True
    held = await leases.holder("room")
    assert (held.owner, held.phase, held.fence) == ("pod-1", "running", mine.fence)
    await store.lapse(0.02)
    taken = await leases.claim("room", "pod-2", ttl=60, stale=0.01)
    assert taken.granted
    assert taken.fence > mine.fence
    assert await leases.keep_alive("room", "pod-1", ttl=60) is False
    assert await leases.release("room", "pod-1") is False
    assert await leases.release("room", "pod-2") is True


async def test_to_ask_who_holds_a_lease_takes_nothing(binding):
    leases = Leases(binding)
    assert await leases.holder("job") is None
    assert (await leases.claim("job", "me", ttl=60)).granted


@pytest.mark.parametrize("owner", ["", "x" * 513, "\ud800"])
async def test_an_owner_that_is_none_is_a_value_error(binding, owner):
    with pytest.raises(ValueError, match="name"):
        await Leases(binding).claim("a", owner, ttl=1)


async def test_a_token_is_good_once(store, binding):
    tokens = Tokens(binding, dict[str, int], LONG)
    token = await tokens.issue({"user": 1})
    found = await asyncio.gather(*(tokens.redeem(token) for _ in range(8)))
    assert sorted(each.fate.value for each in found) == ["taken"] + ["used"] * 7
    assert [each.value for each in found if each.value is not None] == [{"user": 1}]
    for unknown in ("", "no token", "語" * 1000, "\ud800", token + "x"):
        assert await tokens.redeem(unknown) == (Fate.UNKNOWN, None)
    revoked = await tokens.issue({})
    await tokens.revoke(revoked)
    assert (await tokens.redeem(revoked)).fate is Fate.UNKNOWN
    with pytest.raises(UnsupportedValue):
        await tokens.issue({"user": "one"})
    with pytest.raises(TypeError, match="str"):
        await tokens.redeem(None)


async def test_no_token_can_be_read_from_redis(redis_store):
    family = Family(redis_store.key().partition(":")[0], "t")
    token = await Tokens(Binding(redis_store.store, family, None, 1000), int, LONG).issue(1)
    keys = await redis_store.ask("KEYS", redis_store.key().partition(":")[0] + ":*")
    # Of a Cluster one server was asked, which may have none of them.
    assert keys or isinstance(redis_store.connection, Cluster)
    assert not any(token.encode() in key for key in keys)


async def test_a_local_lock_is_for_the_tasks_of_one_process():
    async with PollyState() as one, PollyState() as two:
        assert await one.locks("a", scope="local").try_acquire(1) is not None
        assert await one.locks("a", scope="local").try_acquire(1) is None
        assert await two.locks("a", scope="local").try_acquire(1) is not None
        with pytest.raises(ValueError, match="scope"):
            one.locks("b", scope="world")
        with pytest.raises(ValueError, match="another structure"):
            one.locks("a", scope="redis")


async def test_what_is_held_is_let_go_at_the_end():
    state = PollyState()
    await state.start()
    entered, outcome = asyncio.Event(), []

    async def work():
        try:
            async with state.locks().hold("a"):
                entered.set()
                await asyncio.sleep(10)
        except LeaseLost as lost:
            outcome.append(lost)

    task = asyncio.create_task(work())
    await entered.wait()
    await state.aclose()
    await asyncio.wait_for(task, 5)
    assert len(outcome) == 1
