"""What is private of Ray stands in three modules, and is what it was when they were written."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import private_names
import pytest
from packages import PACKAGE

READ_AT = "2.60"  # the version of Ray at which the doors below were read
MODULES = ("sweep/ray_patches.py", "sweep/ray_workers.py", "cluster/ray_internals.py")
TRAIN = "ray.train.v2._internal"
GROUP = f"{TRAIN}.execution.worker_group:WorkerGroup"
AUTOSCALER = "ray.autoscaler._private"
COORDINATOR = "ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator"

# Where it is -> its parameters, of what is called or overridden; "" of everything else.
DOORS = {
    # starting Ray
    "ray._private.utils:set_sigterm_handler": "sigterm_handler",
    "ray._private.ray_constants:RAY_DASHBOARD_STARTUP_TIMEOUT_S": "",
    "ray._private.worker:_global_node": "",
    "ray._private.node:Node.kill_all_processes": "self, check_alive=True, allow_graceful=False, wait=False",
    "ray._private.services:get_node": "gcs_address, node_id",
    "ray._private.accelerators:get_accelerator_manager_for_resource": "resource_name",
    "ray._private.accelerators.nvidia_gpu:NvidiaGPUAcceleratorManager.get_current_process_visible_accelerator_ids": "",
    "ray._private.accelerators.nvidia_gpu:NvidiaGPUAcceleratorManager.get_current_node_num_accelerators": "",
    # workers that are forked
    "ray._private.ray_constants:SETUP_WORKER_FILENAME": "",
    "ray._private.workers.setup_worker:parser": "",
    "ray._private.workers.setup_worker:Language.Value": "name",
    "ray._private.workers.setup_worker:RuntimeEnvContext.__init__": (
        "self, command_prefix=None, env_vars=None, py_executable=None, override_worker_entrypoint=None, java_jars=None"
    ),
    "ray._private.workers.setup_worker:RuntimeEnvContext.exec_worker": "self, passthrough_args, language",
    "ray._private.workers.setup_worker:RuntimeEnvContext.deserialize": "json_string",
    "ray._private.utils:update_envs": "env_vars",
    "ray.actor:ActorClassID.from_random": "",
    "ray.actor:ActorClassID.size": "",
    "ray._raylet:WorkerID.from_random": "",
    "ray._private.node:Node.all_processes": "",
    "ray._private.node:Node.raylet_socket_name": "",
    "ray._private.ray_constants:PROCESS_TYPE_RAYLET": "",
    # between the driver and its workers
    "ray.experimental.internal_kv:_internal_kv_put": "key, value, overwrite=True, *, namespace=None",
    "ray.experimental.internal_kv:_internal_kv_exists": "key, *, namespace=None",
    f"{COORDINATOR}:get_or_create_autoscaling_coordinator": "",
    f"{COORDINATOR}:_AutoscalingCoordinatorActor.cancel_request": "self, requester_id",
    f"{TRAIN}.execution.context:get_train_context": "",
    f"{TRAIN}.execution.context:TrainContext.preemption_context": "",
    f"{TRAIN}.execution.context:PreemptionContext.preemption_info": "",
    # a Train run
    "ray.train._internal.utils:get_address_and_port": "",
    "ray.train.backend:Backend.on_start": "self, worker_group, backend_config",
    "ray.train.backend:Backend.on_shutdown": "self, worker_group, backend_config",
    "ray.train.backend:Backend.share_cuda_visible_devices": "",
    "ray.train.backend:BackendConfig.backend_cls": "",
    "ray.train.backend:BackendConfig.train_func_context": "",
    "ray.train.torch.config:_set_torch_distributed_env_vars": "",
    "ray.train.torch.config:_setup_torch_process_group": "backend, world_rank, world_size, init_method, timeout_s=1800",
    "ray.train.torch.config:_shutdown_torch": "destroy_process_group=False",
    "ray.train.torch.config:TorchConfigContextManager": "",
    f"{GROUP}._start": "self",
    f"{GROUP}.has_started": "self",
    f"{GROUP}.abort": "self",
    f"{GROUP}.get_workers": "self",
    f"{GROUP}.execute_single": "self, rank, fn, *fn_args, **fn_kwargs",
    f"{GROUP}.execute_single_async": "self, rank, fn, *fn_args, **fn_kwargs",
    f"{GROUP}.execute_async": "self, fn, *fn_args, **fn_kwargs",
    f"{TRAIN}.execution.worker_group.worker:Worker.actor": "",
    f"{TRAIN}.execution.worker_group.worker:Worker.distributed_context": "",
    f"{TRAIN}.execution.worker_group.worker:Worker.metadata": "",
    f"{TRAIN}.execution.worker_group.worker:ActorMetadata.gpu_ids": "",
    f"{TRAIN}.execution.worker_group.worker:ActorMetadata.hostname": "",
    f"{TRAIN}.execution.worker_group.worker:ActorMetadata.node_id": "",
    f"{TRAIN}.execution.worker_group.worker:ActorMetadata.pid": "",
    "ray.actor:ActorHandle._actor_id": "",
    f"{TRAIN}.execution.controller:TrainController.worker_group_cls": "",
    f"{TRAIN}.execution.controller:TrainController.run": "self",
    f"{TRAIN}.execution.controller:TrainController.get_result": "self",
    f"{TRAIN}.execution.callback:WorkerGroupCallback.after_worker_group_start": "self, worker_group",
    f"{TRAIN}.execution.context:TrainRunContext.run_id": "",
    "ray.train.v2.api.data_parallel_trainer:DataParallelTrainer._create_default_callbacks": "self",
    "ray.train.v2.api.data_parallel_trainer:DataParallelTrainer._initialize_and_run_controller": (
        "self, **controller_init_kwargs"
    ),
    "ray.train.v2.api.data_parallel_trainer:DataParallelTrainer.train_run_context": "",
    f"{TRAIN}.callbacks:DatasetsCallback": "",
    f"{TRAIN}.callbacks.placement_group_callback:PlacementGroupCleanerCallback": "",
    # jobs and machines
    "ray._private.runtime_env.packaging:default_logger": "",
    f"{AUTOSCALER}.util:logger": "",
    "ray.job_submission:JobSubmissionClient._server_ray_version": "",
    f"{AUTOSCALER}.aws.node_provider:AWSNodeProvider.create_node": "self, node_config, tags, count",
    f"{AUTOSCALER}.kuberay.node_provider:KubernetesHttpApiClient.__init__": (
        "self, namespace, kuberay_crd_version='v1'"
    ),
    f"{AUTOSCALER}.kuberay.node_provider:KubernetesHttpApiClient.get": "self, path",
    f"{AUTOSCALER}.kuberay.autoscaling_config:_derive_autoscaling_config_from_ray_cr": "ray_cr",
    "ray._private.services:canonicalize_bootstrap_address_or_die": "addr, temp_dir=None",
    "ray._raylet:GcsClient": "",
    "ray._raylet:InnerGcsClient.get_all_node_info": "self, timeout=None, node_selectors=None, state_filter=None",
    "ray._raylet:InnerGcsClient.drain_node": (
        "self, node_id, reason, reason_message, deadline_timestamp_ms, timeout=None"
    ),
    "ray.core.generated.gcs_pb2:GcsNodeInfo.GcsNodeState": "",
    "ray.core.generated.gcs_pb2:GcsNodeInfo.node_manager_address": "",
    "ray.core.generated.autoscaler_pb2:DrainNodeReason.Value": "name",
}


def test_ray_is_bounded_to_the_version_that_the_doors_were_read_at():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    (wanted,) = [one for one in project["dependencies"] if one.startswith("ray[")]
    major, minor = map(int, READ_AT.split("."))
    assert wanted.partition("]")[2] == f">={READ_AT},<{major}.{minor + 1}"
    assert version("ray").startswith(f"{READ_AT}."), f"the doors were read at Ray {READ_AT}: read them again"


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_what_it_was(door):
    assert private_names.as_read(door) == DOORS[door], f"{door} has changed since Ray {READ_AT}"


def test_the_name_by_which_the_autoscaler_knows_a_train_run_is_made_of_its_id():
    import inspect

    from ray.train.v2._internal.execution.scaling_policy import scaling_policy

    assert 'f"train-{train_run_context.run_id}"' in inspect.getsource(scaling_policy)


def used(path: Path) -> set[str]:
    return private_names.private_names(path.read_text(), ("ray",))


def test_no_other_module_uses_what_is_private_of_ray():
    doors = {PACKAGE / name for name in MODULES}
    assert not {str(p): names for p in PACKAGE.rglob("*.py") if p not in doors and (names := used(p))}


@pytest.mark.parametrize("module", MODULES)
def test_every_private_name_is_a_door(module):
    known = {place for door in DOORS for place in (door.replace(":", "."), door.partition(":")[0])}
    parts = {part for door in DOORS for part in door.replace(":", ".").split(".")}

    def is_known(name):
        if name.startswith("."):
            return name[1:] in parts
        return name in known or any(one.startswith(f"{name}.") for one in known)

    assert not [name for name in used(PACKAGE / module) if not is_known(name)]


@pytest.mark.parametrize(
    "source",
    [
        "from ray._private import services",
        "import ray.train.v2.api.data_parallel_trainer",
        "def f():\n    from ray.experimental import internal_kv",
        "import ray\nray._private.utils.f()",
        "import ray.job_submission\nclient._server_ray_version",
        "from ray.train.torch import config\nconfig._shutdown_torch()",
        'import logging\nlogging.getLogger("ray.autoscaler._private.util")',
    ],
)
def test_a_planted_private_name_is_found(source):
    assert private_names.private_names(source, ("ray",))


@pytest.mark.parametrize(
    "source", ["import ray\nself._x", "from ray.train import report", "row._replace(a=1)", "x._y", '"ray.tune"']
)
def test_what_is_public_or_anothers_is_no_fault(source):
    assert not private_names.private_names(source, ("ray",))


def test_a_door_that_is_gone_or_has_changed_is_named():
    for door in ("ray.util:gone", "ray.gone:f", f"{GROUP}._begin", f"{TRAIN}.execution.context:TrainRunContext.id"):
        with pytest.raises((AttributeError, ImportError), match=r"gone|_begin|id"):
            private_names.as_read(door)
    assert private_names.as_read("ray.util:get_node_ip_address") == "address=None"
