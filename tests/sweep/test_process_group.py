"""How ranks join each other: as Ray's own TorchConfig would have them, NCCL's environment included."""

import contextlib
import os
from types import SimpleNamespace
from unittest import mock

import pytest
import ray
import torch
import torch.distributed as dist
from ray.train.torch import TorchConfig

from xlray.sweep.ray_patches import ProcessGroup

PLACES = [
    (0, 0, 0, 2),
    (1, 1, 0, 2),
    (2, 0, 1, 1),
]  # world, local, node rank and local size: two on one node, one on another


class Group:
    """A worker group whose workers are environments of this process."""

    def __init__(self, **known):
        self.environments = [dict(known) for _ in PLACES]
        self.joined = []

    def __len__(self):
        return len(PLACES)

    def get_resources_per_worker(self):
        return {"CPU": 1, "GPU": 1}

    def execute_single(self, rank, function, *given, **named):
        world, local, node, size = PLACES[rank]
        context = SimpleNamespace(
            get_world_rank=lambda: world,
            get_local_rank=lambda: local,
            get_node_rank=lambda: node,
            get_local_world_size=lambda: size,
            get_world_size=lambda: len(PLACES),
        )
        patches = [
            mock.patch.dict(os.environ, self.environments[rank], clear=True),
            mock.patch("ray.train.get_context", lambda: context),
            mock.patch("ray.train.torch.get_device", lambda: torch.device("cuda", local)),
            mock.patch.object(dist, "init_process_group", lambda **asked: self.joined.append(asked)),
        ]
        with contextlib.ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            answer = function(*given, **named)
            self.environments[rank] = dict(os.environ)
        return answer

    execute_single_async = execute_single

    def execute(self, function, *given, **named):
        return [self.execute_single(rank, function, *given, **named) for rank in range(len(self))]

    execute_async = execute


def joined(config, monkeypatch, **known):
    """Each rank's environment, and what it asked of `init_process_group`."""
    place = ("10.0.0.1", 29_500)
    monkeypatch.setattr("xlray.sweep.ray_patches.get_address_and_port", lambda: place)
    monkeypatch.setattr("ray.train.torch.config.get_address_and_port", lambda: place)
    monkeypatch.setattr(ray, "get", lambda found: found)
    group = Group(**known)
    config.backend_cls().on_start(group, config)
    return group.environments, group.joined


@pytest.mark.parametrize("backend", ["nccl", "gloo"])
@pytest.mark.parametrize("known", [{}, {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "0"}, {"TORCH_NCCL_BLOCKING_WAIT": "1"}])
def test_ranks_join_as_under_rays_own_configuration(backend, known, monkeypatch):
    ours, theirs = (joined(make(backend=backend), monkeypatch, **known) for make in (ProcessGroup, TorchConfig))
    assert ours == theirs


def test_a_collective_of_nccl_that_hangs_ends_its_process(monkeypatch):
    environments, asked = joined(ProcessGroup("nccl"), monkeypatch)
    assert [one["TORCH_NCCL_ASYNC_ERROR_HANDLING"] for one in environments] == ["1"] * 3
    assert [(one["rank"], one["world_size"], one["backend"], one["init_method"]) for one in asked] == [
        (rank, 3, "nccl", "env://") for rank in range(3)
    ]
    assert [(one["LOCAL_RANK"], one["MASTER_ADDR"], one["MASTER_PORT"]) for one in environments] == [
        (local, "10.0.0.1", "29500") for local in "010"
    ]
    assert all(one["timeout"].total_seconds() == 1_800 for one in asked)


def test_each_worker_drives_the_gpu_that_ray_gave_it(monkeypatch):
    """The index among the visible devices, which workers of one node share, is the local rank."""
    from xlray.config.execution import Execution
    from xlray.training.autotune import device_of

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    environments, _ = joined(ProcessGroup("nccl"), monkeypatch)
    for environment in environments:
        with mock.patch.dict(os.environ, environment):
            device = device_of(Execution(gpus_per_worker=1, num_workers=3))
        assert str(device) == environment["ACCELERATE_TORCH_DEVICE"]
