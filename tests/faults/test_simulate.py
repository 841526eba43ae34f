"""Can the simulation fail? Each deliberate fault, made in memory, is found by a few of its stories; none without."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from parallel_train.core import apply, decide, situation, state
from parallel_train.core.contact import Contact
from parallel_train.core.events import Ended, Warned
from parallel_train.core.facts import End
from tests.faults.sim import disk, every, kernel, product, queue, story, world
from tests.faults.sim.story import Story

SECONDS = 60.0  # of processor time, in which a fault must be found


def says(answer=""):
    """Instead of a step of the product's shim."""

    def instead(*_):
        yield "sleep", 0.0
        return answer

    return instead


def no_second_look(patch):
    patch.setitem(product.SHIM, "disagreement", says())


def cancels_not_heard(patch):
    patch.setattr(product.ASKED["Asked"], "against", says())


def slot_freed_at_the_leaders_exit(patch):
    def freed(self, pid, *, killed):
        bury(self, pid, killed=killed)
        self._drop_locks(pid)
        self._drop_locks(self.commands[pid].shim)
        self.signed.clear()

    bury = world.World._bury_leader
    patch.setattr(world.World, "_bury_leader", freed)


def put_aside_twice(patch):
    patch.setattr(world.World, "do_is_aside", lambda self, actor, key: False)


def claim_overwritten_instead_of_linked(patch):
    def replaces(self, _actor, *told):
        kind, key, record = told
        getattr(self.disk, kind).pop(key, None)
        return self.disk.link(kind, key, record)

    patch.setattr(world.World, "do_link", replaces)


def slot_not_swept_before_its_end(patch):
    patch.setattr(world.World, "do_sweep_claim", lambda self, actor, claim: None)


def attempts_forgotten(patch):
    patch.setattr(state, "count", lambda line, wanted: 0)


def rounds_not_read(patch):
    names = disk.Disk.names
    patch.setattr(disk.Disk, "names", lambda self, kind: {} if kind == "rounds" else names(self, kind))


def readers_not_waited_for(patch):
    def held(line, around):
        return state.Waiting(why="paused") if line.is_paused else None

    patch.setattr(state, "_held", held)


def pause_not_kept(patch):
    def only_cancelled(self):
        found = yield from against(self)
        return found if found == "cancelled" else ""

    against = product.ASKED["Asked"].against
    patch.setattr(situation.Situation, "is_paused", property(lambda self: False))
    patch.setattr(product.ASKED["Asked"], "against", only_cancelled)


def exit_code_of_success(patch):
    patch.setattr(decide, "exit_code", lambda s: 0)


def states_not_refreshed(patch):
    patch.setattr(apply, "refresh", lambda s, tasks: None)


def pid_without_start_time(patch):
    patch.setattr(kernel.Kernel, "start_time", lambda self, pid: _Any())


class _Any(int):
    def __eq__(self, other):
        return True

    __hash__ = None


def late_stop_not_looked_for(patch):
    patch.setitem(product.SHIM, "_is_as_it_began", says(answer=True))


def slot_kept_between_attempts(patch):
    patch.setattr(world.World, "do_unsign", lambda self, actor, slot: None)


def stopped_without_its_cookie(patch):
    patch.setitem(kernel.PROOF, "_is_its_shim", lambda claim: True)


def later_attempts_of_a_process_not_watched(patch):
    def watched(self, claim):
        return None if claim.owner in self._watched else watch(self, claim)

    watch = kernel.Others.watch
    patch.setattr(kernel.Others, "watch", watched)


def order_lost_with_its_idle_shim(patch):
    def nothing_said(self, actor, pipe):
        return died(self, actor, pipe) if pipe.has_claimed or not pipe.has_served else Warned("its shim died")

    died = world.World._died
    patch.setattr(world.World, "_died", nothing_said)


def taken_over_by_the_time_of_a_file(patch):
    def contact(self, name, lease):
        """How old the beat's file is, by the clock on our wall."""
        found = self._contacts.setdefault(name, Contact(lease))
        age = product.TIME.wall - queue.listing_of("beats").at.get(name, product.TIME.wall)
        found.read, found.moved = product.TIME.now, product.TIME.now - age
        return found

    patch.setattr(queue.Read, "_contact", contact)


def taken_over_without_a_last_look(patch):
    def end_as_lost(self, claim, outcome):
        end = End(claim.task, claim.attempt, outcome)
        yield "link", "ends", (claim.task, claim.attempt), end
        return Ended(end)

    patch.setattr(queue.SimQueue, "end_as_lost", end_as_lost)


def takeover_that_does_not_wait(patch):
    patch.setitem(product.SHIM, "_wait_for_former_owner", says())


def fence_ignored(patch):
    def look(self, now):
        found = yield from looked(self, now)
        return "good" if found == "taken" else found

    looked = product.Beat.look
    patch.setattr(product.Beat, "look", look)


def never_halted(patch):
    def look(self, now):
        found = yield from looked(self, now)
        return "good" if found == "silent" else found

    looked = product.Beat.look
    patch.setattr(product.Beat, "look", look)


FAULTS = {  # each with what it must be found by, and a seed from which on that is soon
    no_second_look: ("starts", 1),
    cancels_not_heard: ("cancelled", 6),
    slot_freed_at_the_leaders_exit: ("lives", 2),
    put_aside_twice: ("aside", 1),
    claim_overwritten_instead_of_linked: ("", 9),
    slot_not_swept_before_its_end: ("runs though", 44),
    attempts_forgotten: ("failures", 1),
    rounds_not_read: ("", 1),
    readers_not_waited_for: ("reads", 74),
    pause_not_kept: ("paused", 4),
    exit_code_of_success: ("left with 0", 3),
    states_not_refreshed: ("records say", 1),
    pid_without_start_time: ("stranger", 31),
    late_stop_not_looked_for: ("is free for another", 73),
    slot_kept_between_attempts: ("is free for another", 1),
    stopped_without_its_cookie: ("a stranger was signalled", 18),
    later_attempts_of_a_process_not_watched: ("not for that of", 1),
    taken_over_by_the_time_of_a_file: ("was taken over after", 10),
    taken_over_without_a_last_look: ("had not looked again", 18),
    takeover_that_does_not_wait: ("starts while", 231),
    fence_ignored: ("", 33),
    never_halted: ("starts while", 351),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_deliberate_fault_is_found(fault, monkeypatch):
    monkeypatch.setattr(story, "MOST_STEPS", 20_000)
    began = time.process_time()
    words, first = FAULTS[fault]
    seed = first - 1
    while time.process_time() - began < SECONDS:
        seed += 1
        with pytest.MonkeyPatch.context() as patch:
            fault(patch)
            found = outcome(seed)
        if words in found and found and not outcome(seed):  # it is this fault that breaks the story
            print(f"found in seed {seed} after {time.process_time() - began:.1f} s: {found}")
            return
    pytest.fail(f"not found in {seed - first + 1} stories")


def outcome(seed):
    """How a story broke; empty where it did not."""
    try:
        Story(seed).tell()
    except Exception as error:  # noqa: BLE001  whatever breaks it
        return repr(error)
    return ""


def test_nothing_is_found_where_nothing_is_wrong():
    for seed in range(1, 9):
        Story(seed).tell()


def test_every_order_of_a_scene_leads_to_an_end():
    found = every.explore(every.Scene(every.runs(every.ONE)))
    assert found.is_exhausted
    assert not found.faults
    assert found.ends


SEARCHED = {  # faults, with a small scene in which they do harm
    no_second_look: every.Scene(every.runs(every.ONE), cancel=("n",)),
    cancels_not_heard: every.Scene(every.runs(every.ONE), cancel=("n",)),
    claim_overwritten_instead_of_linked: every.SCENES["two slots"],
    exit_code_of_success: every.SCENES["a cancel"],
    put_aside_twice: every.SCENES["again, a kill"],
    states_not_refreshed: every.Scene(every.runs(every.ONE)),
    stopped_without_its_cookie: every.Scene(every.runs(every.ONE), cancel=("n",)),
}


@pytest.mark.parametrize("fault", SEARCHED, ids=lambda fault: fault.__name__)
def test_a_search_finds_a_fault_and_tells_the_way_to_it(fault, monkeypatch):
    fault(monkeypatch)
    found = every.explore(SEARCHED[fault], seconds=SECONDS)
    assert found.faults
    assert every.retold(SEARCHED[fault], found.faults[0][1])[-1] == found.faults[0][0]


def test_a_search_finds_whoever_waits_in_vain(monkeypatch):
    order_lost_with_its_idle_shim(monkeypatch)
    found = every.explore(every.SCENES["a kill"], seconds=SECONDS)
    assert "lead to no end" in found.faults[0][0]


def test_few_orders_are_fewer_and_end_too():
    found = [every.explore(replace(every.SCENES["a retry"], preemptions=bound)) for bound in (0, None)]
    assert all(each.is_exhausted and each.ends and not each.faults for each in found)
    assert found[0].states < found[1].states


def test_where_all_orders_are_searched_none_is_left_out():
    """A cancel comes before its task, while it is claimed, while it runs, after its end: each has its own ends."""
    search = every.Search(every.SCENES["a cancel"], SECONDS)
    assert search.run().is_exhausted
    assert len(search.over) == 6


def test_an_idle_shim_is_killed_with_and_without_an_order(monkeypatch):
    def noted(world, pid, scene):
        if world.actors[pid].op[0] == "rest":
            killed.add(pid in world.handed)
        kill(world, pid, scene)

    kill, killed = every._kill, set()
    monkeypatch.setattr(every, "_kill", noted)
    assert every.explore(every.SCENES["a kill"], SECONDS).is_exhausted
    assert killed == {False, True}
