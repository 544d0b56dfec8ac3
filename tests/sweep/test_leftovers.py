"""What a killed run leaves on the cluster is freed: placement groups that hold devices for nobody."""

import time
from types import SimpleNamespace

import pytest

from xlray.config.execution import Execution
from xlray.sweep import tune


@pytest.fixture
def groups(monkeypatch):
    """Groups that are idle, and those that were freed."""
    idle, freed = set(), []

    def free(group):
        freed.append(group)
        idle.discard(group)

    monkeypatch.setattr(tune, "idle_groups", lambda: frozenset(idle))
    monkeypatch.setattr(tune, "free_group", free)
    return idle, freed


def test_a_group_is_freed_once_it_has_been_idle_for_long(groups):
    idle, freed = groups
    leftovers = tune.Leftovers()
    idle.add("a")
    leftovers.look(0.0)
    assert not leftovers.idle  # nothing was killed: nobody is asked
    leftovers.watching = True
    for now in (1.0, 10.0, 20.0):
        leftovers.look(now)
    assert not freed
    leftovers.look(1.0 + tune.IDLE_S)
    assert not freed  # it was asked just now
    leftovers.look(26.0)
    assert freed == ["a"]
    leftovers.look(40.0)
    assert not leftovers.idle and freed == ["a"]
    idle.add("b")  # it had waited for the devices of the first
    leftovers.look(500.0)
    leftovers.look(530.0)
    assert freed == ["a", "b"]


def test_a_group_whose_actors_start_late_is_left_alone(groups):
    idle, freed = groups
    leftovers = tune.Leftovers()
    leftovers.watching = True
    for now, is_idle in ((0.0, True), (10.0, True), (19.0, False), (30.0, True), (45.0, True)):
        (idle.add if is_idle else idle.discard)("a")
        leftovers.look(now)
    assert not freed
    leftovers.look(51.0)
    assert freed == ["a"]


@pytest.mark.parametrize("error", [None, "the trial's process died"])
def test_the_group_of_a_trial_that_reported_is_freed_as_soon_as_it_ends(error, groups):
    ended = []
    driver = SimpleNamespace(journal=[], on_end=lambda name, error: ended.append((name, error)))
    events = tune.Events(driver)
    config = {"trial_id": "t", "run": "r"}
    events._ended(SimpleNamespace(config=config, last_result={"placement_group": "g"}), error)
    assert groups[1] == ["g"] and events.leftovers.watching
    events._ended(SimpleNamespace(config=config, last_result=None), error)  # it had reported nothing
    assert groups[1] == ["g"] and ended == [("t", error)] * 2


def test_a_dashboard_that_does_not_answer_is_asked_again(groups, monkeypatch):
    from ray.util.state.exception import ServerUnavailable

    idle, freed = groups
    leftovers = tune.Leftovers()
    leftovers.watching = True
    idle.add("a")
    leftovers.look(0.0)

    def fail():
        raise ServerUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(tune, "idle_groups", fail)
        leftovers.look(21.0)
    assert not freed
    leftovers.look(30.0)
    assert freed == ["a"]


@pytest.mark.ray
@pytest.mark.slow
def test_the_group_of_a_controller_that_was_killed_before_its_workers_started_is_found_and_freed():
    import ray
    from ray.util.placement_group import placement_group

    from xlray.sweep.ray_session import free_group, idle_groups, ray_session

    class Controller:
        def reserve(self):
            self.group = placement_group([{"CPU": 1}] * 2)
            ray.get(self.group.ready())

        def fill(self):
            workers = ray.remote(num_cpus=1)(Controller)
            self.workers = [workers.options(placement_group=self.group).remote() for _ in range(2)]
            ray.get([worker.__ray_ready__.remote() for worker in self.workers])

    with ray_session(Execution(num_workers=2), None):
        tune_own = placement_group([{"trial_driver": 1}])
        ray.get(tune_own.ready())
        controllers = [ray.remote(num_cpus=0)(Controller).remote()]
        ray.get(controllers[0].reserve.remote())
        assert len(idle_groups()) == 1
        ray.get(controllers[0].fill.remote())
        assert not idle_groups()
        ray.kill(controllers[0])
        until = time.monotonic() + 60
        while not (left := idle_groups()) and time.monotonic() < until:
            time.sleep(0.2)
        assert len(left) == 1
        free_group(next(iter(left)))
        every = ray.remote(num_cpus=ray.cluster_resources()["CPU"])(lambda: True)
        assert ray.get(every.remote(), timeout=60) and not idle_groups()
