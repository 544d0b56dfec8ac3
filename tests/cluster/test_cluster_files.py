"""The cluster files, without a cloud: Ray's schema and preparation, EC2's own list of fields, what xlray needs of a cluster."""

from __future__ import annotations

import copy
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.providers import _get_node_provider_cls
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.node_launch_exception import NodeLaunchException

from xlray.cluster.ec2 import SpotOrOnDemand
from xlray.config.execution import Execution

TOP = Path(__file__).parents[2]
LAUNCHED = ("cluster.yaml", "deploy/onprem.yaml", "deploy/gcp.yaml")
PROVIDER_KEYS = {
    "external": {
        "type",
        "module",
        "region",
        "availability_zone",
        "cache_stopped_nodes",
        "security_group",
        "use_internal_ips",
    },
    "gcp": {"type", "region", "availability_zone", "project_id", "cache_stopped_nodes", "use_internal_ips"},
    "local": {"type", "head_ip", "worker_ips", "coordinator_address"},
}
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|(password|secret|token)\s*[:=]\s*['\"]?[0-9A-Za-z+/]{20,}", re.I
)


def load(name: str) -> dict[str, Any]:
    found = yaml.safe_load((TOP / name).read_text())
    assert isinstance(found, dict)
    return found


def commands(config: dict[str, Any]) -> list[str]:
    return [c for key, value in config.items() if key.endswith("_commands") for c in value]


def start_command(config: dict[str, Any], kind: str) -> str:
    return next(c for c in config[f"{kind}_start_ray_commands"] if "ray start" in c)


def faults(config: dict[str, Any]) -> list[str]:
    """What is wrong with a launcher's file, as far as can be known without the cloud."""
    config = copy.deepcopy(config)
    found = [f"provider: {key}" for key in config["provider"].keys() - PROVIDER_KEYS[config["provider"]["type"]]]
    try:
        prepared = prepare_config(copy.deepcopy(config))
        for kind in prepared["available_node_types"].values():
            kind.setdefault("resources", {})  # AWS fills these in from the type of instance
        validate_config(prepared)
        if config["provider"]["type"] == "external":
            _get_node_provider_cls(config["provider"])
    except Exception as error:  # noqa: BLE001  Ray raises many kinds
        return [*found, f"{type(error).__name__}: {str(error).splitlines()[0]}"]
    found += [
        f"file_mounts: {path}"
        for path in config["file_mounts"].values()
        if path != "~/.ray/auth_token" and not (TOP / path).exists()
    ]
    return found + command_faults(config) + (aws_faults(config) if config["provider"]["type"] == "external" else [])


def command_faults(config: dict[str, Any]) -> list[str]:
    head, worker, found = start_command(config, "head"), start_command(config, "worker"), []
    wanted = {
        "--autoscaling-config": "--autoscaling-config=~/ray_bootstrap_config.yaml" in head,
        "loopback": "--dashboard-host=127.0.0.1" in head,
        "token": all("RAY_AUTH_MODE=token" in c for c in (head, worker))
        and "~/.ray/auth_token" in config["file_mounts"],
        "metrics": all("--metrics-export-port=8080" in c for c in (head, worker)),
        "resume": "python -m xlray.cluster.resubmit" in config["head_start_ray_commands"],
        "region": config["provider"]["type"] != "external"
        or any(f"AWS_REGION={config['provider']['region']}'" in c for c in config["setup_commands"]),
        "spot": config["provider"]["type"] != "external"
        or any("xlray.cluster.spot" in c for c in config["worker_start_ray_commands"]),
    }
    found += [name for name, is_there in wanted.items() if not is_there]
    for command in config["setup_commands"]:
        if "pip install" in command:
            unpinned = [
                w
                for w in shlex.split(command.split("pip install", 1)[1])
                if "==" not in w and not w.startswith(("-", "~"))
            ]
            found += [f"not pinned: {name}" for name in unpinned if name != "boto3" or "--constraint" not in command]
            # The Makefile says why the latter.
            needed = ("constraints.txt", "--use-pep517") if command.endswith("~/xlray") else ()
            found += [f"no {option}: {command}" for option in needed if option not in command]
    unreadable = [
        c for c in commands(config) if subprocess.run(["bash", "-nc", c], check=False, capture_output=True).returncode
    ]
    found += [
        f"no shell command: {c}" for c in unreadable
    ]  # a ` #` ends a plain value of YAML, quotes around it or not
    return found + ([] if any("constraints.txt" in c for c in config["setup_commands"]) else ["no constraints"])


def aws_faults(config: dict[str, Any]) -> list[str]:
    """Keys of `node_config` against the EC2 API's own description of RunInstances, at every depth: Ray does not look."""
    shape = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    types = config["available_node_types"]
    found = [f"{name}{fault}" for name, kind in types.items() for fault in shape_faults(kind["node_config"], shape, "")]
    found += [
        f"{name}: no IamInstanceProfile"
        for name, kind in types.items()
        if "IamInstanceProfile" not in kind["node_config"]
    ]
    return found + [f"{name}: no ImageId" for name, kind in types.items() if not kind["node_config"].get("ImageId")]


def shape_faults(value: Any, shape: Any, path: str) -> list[str]:
    if shape.type_name == "structure":
        if not isinstance(value, dict):
            return [f"{path}: no mapping"]
        unknown = [f"{path}.{key}" for key in value.keys() - shape.members.keys()]
        return unknown + [
            f
            for k in value.keys() & shape.members.keys()
            for f in shape_faults(value[k], shape.members[k], f"{path}.{k}")
        ]
    if shape.type_name == "list":
        return (
            [f for item in value for f in shape_faults(item, shape.member, f"{path}[]")]
            if isinstance(value, list)
            else [f"{path}: no list"]
        )
    if shape.type_name in ("string", "integer", "boolean"):
        fits = isinstance(value, {"string": str, "integer": int, "boolean": bool}[shape.type_name])
        allowed = getattr(shape, "enum", None)
        # an instance type or the like may be newer than the installed botocore; a misspelt market may not
        known = not allowed or value in allowed or path.endswith("InstanceType")
        return [] if fits and known else [f"{path}: {value!r}"]
    return []


@pytest.mark.parametrize("name", LAUNCHED)
def test_the_launchers_files_have_no_fault(name: str) -> None:
    assert faults(load(name)) == []


PLANTED = {
    "unknown top-level key": lambda c: c.__setitem__("workers", 3),
    "unknown key of a node type": lambda c: c["available_node_types"]["head"].__setitem__("min_worker", 3),
    "unknown key of the provider": lambda c: c["provider"].__setitem__("regoin", "x"),
    "unknown key of node_config": lambda c: c["available_node_types"]["head"]["node_config"].__setitem__(
        "InstnceType", "x"
    ),
    "unknown key further down": lambda c: c["available_node_types"]["gpu"]["node_config"]["BlockDeviceMappings"][0][
        "Ebs"
    ].__setitem__("Size", 1),
    "a market that is none": lambda c: c["available_node_types"]["gpu"]["node_config"][
        "InstanceMarketOptions"
    ].__setitem__("MarketType", "spto"),
    "a size in words": lambda c: c["available_node_types"]["head"]["node_config"]["BlockDeviceMappings"][0][
        "Ebs"
    ].__setitem__("VolumeSize", "200 GB"),
    "a worker that may not use the bucket": lambda c: c["available_node_types"]["cpu"]["node_config"].pop(
        "IamInstanceProfile"
    ),
    "no image": lambda c: c["available_node_types"]["cpu"]["node_config"].pop("ImageId"),
    "no such head type": lambda c: c.__setitem__("head_node_type", "nope"),
    "min above max": lambda c: c["available_node_types"]["gpu"].__setitem__("min_workers", 9),
    "half a resource": lambda c: c["available_node_types"]["head"]["resources"].__setitem__("trial_driver", 0.5),
    "nothing to copy": lambda c: c["file_mounts"].__setitem__("/x", "no/such/folder"),
    "no autoscaler": lambda c: c.__setitem__("head_start_ray_commands", ["ray start --head"]),
    "a public dashboard": lambda c: replace(c, "127.0.0.1", "0.0.0.0"),
    "no token": lambda c: c["file_mounts"].pop("~/.ray/auth_token"),
    "a worker without the token": lambda c: c.__setitem__(
        "worker_start_ray_commands", [x.replace("RAY_AUTH_MODE=token", "") for x in c["worker_start_ray_commands"]]
    ),
    "no metrics": lambda c: replace(c, "--metrics-export-port=8080", ""),
    "another region": lambda c: c["provider"].__setitem__("region", "eu-north-1"),
    "no such provider": lambda c: c["provider"].__setitem__("module", "xlray.cluster.ec2.Spot"),
    "sweeps that do not resume": lambda c: c["head_start_ray_commands"].pop(),
    "no watcher": lambda c: c["worker_start_ray_commands"].pop(),
    "half a command": lambda c: c["setup_commands"].append("echo 'export A=1"),
    "not pinned": lambda c: c["setup_commands"].append("~/venv/bin/pip install -q wandb"),
    "no --use-pep517": lambda c: c["setup_commands"].append("pip install --constraint constraints.txt ~/xlray"),
    "no constraints": lambda c: replace(c, "--constraint ~/xlray/constraints.txt", ""),
}


def replace(config: dict[str, Any], old: str, new: str) -> None:
    for key in ("head_start_ray_commands", "worker_start_ray_commands", "setup_commands"):
        config[key] = [command.replace(old, new) for command in config[key]]


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_of_the_aws_file_is_found(fault: str) -> None:
    config = separate(load("cluster.yaml"))
    PLANTED[fault](config)
    assert faults(config)


def separate(value: Any) -> Any:
    """Without shared parts, so that a change in one node type is one."""
    if isinstance(value, dict):
        return {key: separate(item) for key, item in value.items()}
    return [separate(item) for item in value] if isinstance(value, list) else value


def test_the_head_drives_trials_and_computes_nothing() -> None:
    for name in ("cluster.yaml", "deploy/gcp.yaml"):
        head = load(name)["available_node_types"]["head"]
        assert head["resources"]["CPU"] == 0 and head["resources"]["trial_driver"] > 0 and head["max_workers"] == 0
    assert "--num-cpus=0" in start_command(load("deploy/onprem.yaml"), "head")
    for config in map(load, LAUNCHED):
        workers = [k for n, k in config.get("available_node_types", {}).items() if n != "head"]
        assert not any("trial_driver" in k.get("resources", {}) for k in workers)
        assert "trial_driver" not in start_command(config, "worker")


def test_as_many_trials_may_be_driven_as_there_can_be_gpus_and_spot_comes_first() -> None:
    types = load("cluster.yaml")["available_node_types"]
    gpus = 8 * types["gpu"]["max_workers"]
    assert types["head"]["resources"]["trial_driver"] >= gpus // Execution().num_workers
    assert types["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert all(kind.get("min_workers", 0) == 0 for kind in types.values())


def provider(
    spot_refusal: str | None, monkeypatch: pytest.MonkeyPatch, has: int = 0
) -> tuple[Any, list[tuple[str, int]]]:
    """Of EC2 with this many spot machines, which refuses further ones like this; and what it was asked for."""
    asked: list[tuple[str, int]] = []

    def create(_: Any, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        market = node_config.get("InstanceMarketOptions", {}).get("MarketType", "on-demand")
        asked.append((market, count))
        given = min(has, count) if market == "spot" else count
        if given == 0:
            raise NodeLaunchException(str(spot_refusal), "said EC2", None)
        return {f"{market}-{n}": tags for n in range(given)}

    monkeypatch.setattr(AWSNodeProvider, "create_node", create)
    return object.__new__(SpotOrOnDemand), asked


SPOT = {"InstanceType": "x", "InstanceMarketOptions": {"MarketType": "spot"}}


@pytest.mark.parametrize(("has", "wanted"), [
    (3, [("spot", 2)]), (1, [("spot", 2), ("on-demand", 1)]), (0, [("spot", 2), ("on-demand", 2)]),
])  # fmt: skip
def test_machines_that_have_no_spot_capacity_are_taken_on_demand(
    has: int, wanted: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ec2, asked = provider("InsufficientInstanceCapacity", monkeypatch, has)
    assert len(ec2.create_node(SPOT, {}, 2)) == 2 and asked == wanted
    assert SPOT["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_a_refusal_that_is_not_for_want_of_spot_machines_is_rays_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    ec2, asked = provider("UnauthorizedOperation", monkeypatch)
    with pytest.raises(NodeLaunchException, match="UnauthorizedOperation"):
        ec2.create_node(SPOT, {}, 2)
    assert asked == [("spot", 2)]
    assert ec2.create_node({"InstanceType": "x"}, {}, 1) and asked[1:] == [("on-demand", 1)]


def test_versions_in_the_files_are_those_of_the_constraints() -> None:
    known = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", (TOP / "constraints.txt").read_text(), re.M))
    texts = [(TOP / name).read_text() for name in (*LAUNCHED, "deploy/kuberay/Dockerfile")]
    for text in texts:
        for package, version in re.findall(r"(torch|ray)(?:\[[a-z,]+\])?==([\d.]+)", text):
            assert version == known[package]
    assert f"rayproject/ray:{known['ray']}-" in texts[-1]
    for name in ("raycluster", "rayjob"):
        assert f'rayVersion: "{known["ray"]}"' in (TOP / f"deploy/kuberay/{name}.yaml").read_text()


def derived(name: str) -> dict[str, Any]:
    document = load(f"deploy/kuberay/{name}.yaml")
    spec = document["spec"] if document["kind"] == "RayCluster" else document["spec"]["rayClusterSpec"]
    found = _derive_autoscaling_config_from_ray_cr(
        {"metadata": {"name": "x", "namespace": "y"}, "spec": copy.deepcopy(spec)}
    )
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", ["raycluster", "rayjob"])
def test_ray_derives_from_the_kubernetes_files_what_they_mean(name: str) -> None:
    config = derived(name)
    validate_config(config)
    types, head = config["available_node_types"], config["head_node_type"]
    assert {k: v for k, v in types[head]["resources"].items() if k != "memory"} == {"CPU": 0, "trial_driver": 32}
    for group in ("gpu-spot", "gpu-on-demand"):
        assert (types[group]["resources"]["GPU"], types[group]["resources"]["CPU"]) == (8, 90)
        assert (types[group]["min_workers"], types[group]["max_workers"]) == (0, 4)
    assert config["idle_timeout_minutes"] == 10


@pytest.mark.parametrize("name", ["raycluster", "rayjob"])
def test_pods_share_memory_and_parameters_are_strings(name: str) -> None:
    document = load(f"deploy/kuberay/{name}.yaml")
    spec = document["spec"] if name == "raycluster" else document["spec"]["rayClusterSpec"]
    assert spec["authOptions"] == {"mode": "token"}
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert group["rayStartParams"]["metrics-export-port"] == "8080"
    for group in spec["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        assert [m["mountPath"] for m in pod["containers"][0]["volumeMounts"]] == ["/dev/shm"]
        assert pod["volumes"][0]["emptyDir"]["medium"] == "Memory"


def test_the_job_on_kubernetes_runs_again_and_resumes() -> None:
    spec = load("deploy/kuberay/rayjob.yaml")["spec"]
    assert spec["backoffLimit"] > 0 and spec["shutdownAfterJobFinishes"] is True
    assert shlex.split(spec["entrypoint"])[:2] == ["xlray", "run"]
    assert "RAY_JOB_STOP_WAIT_TIME_S" in yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]


def test_the_slurm_script_is_bash_and_knows_its_options() -> None:
    path = TOP / "deploy/slurm/xlray.sbatch"
    subprocess.run(["bash", "-n", str(path)], check=True)
    options = re.findall(r"^#SBATCH --([a-z-]+)=?", path.read_text(), re.M)
    known = {"job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time", "signal", "exclusive"}
    assert options and set(options) <= known
    assert "--dashboard-host=127.0.0.1" in path.read_text() and "RAY_AUTH_MODE=token" in path.read_text()


@pytest.mark.parametrize("path", [TOP / "cluster.yaml", *sorted((TOP / "deploy").rglob("*"))], ids=lambda p: p.name)
def test_no_file_holds_a_secret(path: Path) -> None:
    if path.is_file():
        assert not SECRETS.search(path.read_text())


def test_a_planted_secret_is_found() -> None:
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    assert (
        SECRETS.search(key) and SECRETS.search("token: " + "a1" * 16) and not SECRETS.search("token: ~/.ray/auth_token")
    )
