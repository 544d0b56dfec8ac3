"""The spot watcher against a metadata service on the loopback, and when a worker saves because of a notice."""

import datetime
import json
from types import SimpleNamespace

import pytest
from imds_server import start_instance

from xlray.cluster import spot
from xlray.sweep.train_run import Notice


@pytest.fixture
def service():
    instance, url, stop = start_instance()
    instance.url = url
    yield instance
    stop()


def notice_text(seconds, action="terminate"):
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return json.dumps({"action": action, "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")})


def test_nothing_is_there_until_a_notice_is(service):
    metadata = spot.Metadata(service.url)
    metadata.renew()
    assert metadata.notice() is None
    service.texts[spot.ACTION_PATH] = json.dumps({"action": "terminate", "time": "2026-01-01T00:02:00Z"})
    found = metadata.notice()
    assert found == spot.SpotNotice("terminate", 1767225720.0)
    assert spot.remaining_s(found, found.at - 120) == 115
    assert spot.remaining_s(found, found.at + 30) == 1  # late, but told all the same


def test_a_token_that_ran_out_is_renewed_and_none_at_all_refused(service):
    metadata = spot.Metadata(service.url)
    assert metadata.notice() is None and service.num_tokens == 1  # it had none
    service.tokens.clear()
    assert metadata.notice() is None and service.num_tokens == 2


def test_the_node_is_drained_once_and_a_refusal_is_tried_again(service):
    service.texts[spot.ACTION_PATH] = notice_text(120)
    acted, said = [], []

    def act(notice):
        acted.append(notice)
        if len(acted) < 3:
            raise ConnectionError("not accepted")
        return "cafe"

    spot.watch(spot.Metadata(service.url), act, poll_s=0.01, say=said.append)
    assert [notice.action for notice in acted] == ["terminate"] * 3
    assert ["not accepted" in line for line in said] == [True, True, False] and "node cafe is being drained" in said[-1]


def test_a_service_that_answers_nonsense_is_asked_again(service):
    service.texts[spot.ACTION_PATH] = "<html>"
    said = []

    def say(line):
        said.append(line)
        service.texts[spot.ACTION_PATH] = notice_text(60)

    spot.watch(spot.Metadata(service.url), lambda notice: "cafe", poll_s=0.01, say=say)
    assert "JSONDecodeError" in said[0] and len(said) == 2


def test_without_a_metadata_service_the_watcher_says_so_and_ends(monkeypatch, capsys):
    monkeypatch.setenv(spot.ENDPOINT_VARIABLE, "http://127.0.0.1:9")
    assert spot.main([]) == 2
    assert "http://127.0.0.1:9 must be an instance metadata service" in capsys.readouterr().err


def asked_over_time(context, changes, num_steps):
    """The steps, one second each, at which a worker saves; a save takes five seconds more."""
    clock, saves = [0.0], []
    notice = Notice(context, lambda: clock[0])
    for step in range(num_steps):
        if step in changes:
            context.preemption_info = changes[step]
        clock[0] += 1.0
        if notice():
            saves.append(clock[0])
            clock[0] += 5.0
    return saves


def info(deadline_s):
    return SimpleNamespace(
        preempted_node_ids=["0123456789"], deadline_ms=None if deadline_s is None else int(1000 * deadline_s)
    )


def test_a_worker_saves_at_the_notice_and_once_more_before_the_node_is_due(capsys):
    context = SimpleNamespace(preemption_info=None)
    first, last = asked_over_time(context, {10: info(120.0)}, 200)
    assert first == 11.0  # at the step after the notice
    assert 95.0 <= last < 120.0 - 5.0 - 5.0  # the save ends before the node is due
    assert "node(s) 01234567 will be reclaimed" in capsys.readouterr().out


def test_a_notice_without_a_time_saves_once_and_a_second_node_again():
    assert asked_over_time(SimpleNamespace(preemption_info=None), {3: info(None)}, 50) == [4.0]
    assert len(asked_over_time(SimpleNamespace(preemption_info=None), {3: info(None), 20: info(None)}, 50)) == 2
    assert asked_over_time(SimpleNamespace(preemption_info=None), {}, 50) == []
