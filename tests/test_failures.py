import pytest

from xlray.failures import classify, common_error, may_retry, signature

ERRORS = {
    "memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "storage": "OSError: [Errno 28] No space left on device: '/store/phases/x'",
    "node": "The actor died because its node has died. Node Id: 5f1e",
    "process": "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.",
    "bug": "ValueError: unknown label 'x'",
}


@pytest.mark.parametrize("kind", ERRORS)
def test_each_kind_is_recognised(kind):
    assert classify(f"Traceback (most recent call last):\n  File ...\n{ERRORS[kind]}") == kind


def test_the_cause_wins_over_what_it_does_to_the_other_ranks():
    collateral = "RuntimeError: [gloo] Connection closed by peer [10.0.0.1]:123"
    assert classify(collateral) == "process"
    for kind in ("memory", "storage", "node"):
        assert classify(f"[Rank 1] {collateral}\n[Rank 0] {ERRORS[kind]}") == kind


def test_a_lost_node_is_not_charged_and_a_bug_is_never_tried_again():
    assert [may_retry("process", {"process": n}, 2) for n in range(4)] == [True, True, False, False]
    assert may_retry("node", {"node": 50, "process": 2}, 2)
    assert not may_retry("node", {"node": 100}, 2)
    assert may_retry("memory", {"memory": 7}, 0) and not may_retry("memory", {"memory": 8}, 0)
    assert not may_retry("bug", {}, 99) and not may_retry("storage", {}, 99)


def test_a_signature_keeps_the_words_and_drops_paths_hashes_and_numbers():
    first = signature("Traceback\n  File 1\nValueError: /a/b/trunk-3f2a9c01bd: row 12 has label 'x'\n\n")
    assert first == signature("ValueError: /other/trunk-77aa12345f: row 9,001 has label 'x'".replace("9,001", "9001"))
    assert first != signature("ValueError: /a/b/trunk-3f2a9c01bd: row 12 has label 'y'")
    assert "label" in first


def test_three_trials_that_fail_alike_share_their_error():
    alike = [f"OSError: /data/t{i}: no such file" for i in range(3)]
    assert common_error(alike) is not None
    assert common_error(alike[:2]) is None
    assert common_error([*alike[:2], "KeyError: 'x'"]) is None
    assert common_error(["KeyError: 'x'", *alike]) is not None


@pytest.mark.parametrize(
    "error",
    [
        "The actor died unexpectedly before finishing this task.\nThe actor is dead because its worker process has died.",
        "ray.train.WorkerGroupError: Training failed due to worker errors:\nA worker health check failed.\nWorker info:",
    ],
)
def test_the_words_of_ray_for_a_killed_process_are_known(error):
    hint = "(1) the process was killed by the OOM killer due to high memory usage ... to prevent node deaths"
    assert classify(f"{error} {hint}") == "process"


def test_a_port_that_another_process_was_faster_to_take_is_tried_again() -> None:
    text = "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: 1"
    assert (
        classify(f"ray.train.WorkerGroupError: {text}, code: -98, name: EADDRINUSE, message: address already in use")
        == "process"
    )


def test_no_actor_for_ray_data_sets_or_placement_groups_is_started_for_a_trial():
    """Ray Train has no public way to leave them out: this fails when a new version of Ray moves them."""
    from ray.train.torch import TorchTrainer

    from xlray.trial import _Trainer

    names = [[type(c).__name__ for c in kind(print)._create_default_callbacks()] for kind in (TorchTrainer, _Trainer)]
    unwanted = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
    assert unwanted < set(names[0])
    assert names[1] == [name for name in names[0] if name not in unwanted]


def test_a_run_that_fails_has_withdrawn_what_it_asked_of_the_autoscaler(monkeypatch, tmp_path):
    """Before the next attempt asks, or machines would be started for both."""
    from types import SimpleNamespace

    from xlray import trial
    from xlray.config import Execution

    class Trainer:
        def __init__(self, *given, **named):
            self.train_run_context = SimpleNamespace()

        def fit(self):
            raise RuntimeError("a worker failed")

    withdrawn = []
    monkeypatch.setattr(trial, "_Trainer", Trainer)
    monkeypatch.setattr(trial, "withdraw_request", withdrawn.append)
    with pytest.raises(RuntimeError, match="a worker failed"):
        trial.fit(tmp_path / "job.json", Execution(), "run-1", "stop")
    assert withdrawn == ["run-1"]
