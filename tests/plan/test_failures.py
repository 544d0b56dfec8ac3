import pytest

from xlray.plan.failures import classify, common_error, may_retry, signature

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


@pytest.mark.parametrize(
    "error",
    [
        # of a process that keeps to its part of a GPU
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of "
        "which 50.00 GiB is free. 19.03 GiB allowed; Of the allocated memory 18.20 GiB is allocated by PyTorch",
        # beside torch's allocator
        "torch.AcceleratorError: CUDA error: out of memory",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_memory_that_others_on_the_gpu_hold_is_memory(error):
    assert classify(error) == "memory"


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

    from xlray.sweep.ray_patches import Trainer

    names = [[type(c).__name__ for c in kind(print)._create_default_callbacks()] for kind in (TorchTrainer, Trainer)]
    unwanted = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
    assert unwanted < set(names[0])
    assert names[1] == [name for name in names[0] if name not in unwanted]


def test_a_worker_group_that_fails_while_its_workers_join_is_ended(monkeypatch):
    """Ray Train forgets it. This fails, too, when a new version of Ray moves the parts."""
    from ray.train.v2._internal.execution.worker_group import WorkerGroup

    from xlray.sweep.ray_patches import Controller, EndedWorkerGroup

    ended = []

    class State:
        def shutdown(self):
            ended.append(1)

    def start(group, has_state):
        group._worker_group_state = State() if has_state else None
        raise RuntimeError("a worker died")

    for has_state in (True, False):  # before there is a state, Ray ends it itself
        group = object.__new__(EndedWorkerGroup)
        group.__dict__.update(_callbacks=[], _worker_group_context=None, _world_rank_to_ongoing_poll={})
        monkeypatch.setattr(WorkerGroup, "_start", lambda group, has_state=has_state: start(group, has_state))
        with pytest.raises(RuntimeError, match="a worker died"):
            group._start()
        assert not group.has_started() and len(ended) == 1
    assert Controller.worker_group_cls is EndedWorkerGroup
