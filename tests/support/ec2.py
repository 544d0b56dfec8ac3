"""EC2 with bodies: moto answers AWS's API, and every instance that it says is running is a host of `hosts.py`.

An instance has the address that EC2 gave it, and a metadata service at the address that EC2's has, with credentials of its
role and, on demand, a spot notice. All of it is inside the hosts' network, which has no way out: moto makes up public
addresses, and nobody may try one.

    python ec2.py serve | metadata         what runs on the hosts; see `serve` and `metadata`
"""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hosts import SHARED, TOP, Hosts, sh

CLOUD, PORT, REGION = "172.31.255.1", 5000, "us-west-2"
ENDPOINT = f"http://{CLOUD}:{PORT}"
ADDRESSES = {"cloud": CLOUD, "laptop": "172.31.255.2"}
METADATA = "169.254.169.254"
NO_SPOT = SHARED / "no-spot"  # while it is there, EC2 has no spot machine to give
NOTICE = Path("/run/spot-notice")  # on an instance
HEAD = "m6i.2xlarge"
KEYS = {"AccessKeyId": "ASIAXLRAY", "SecretAccessKey": "secret", "Token": "session"}
FIELDS = ("InstanceId", "InstanceType", "InstanceLifecycle", "PrivateIpAddress")


@dataclass
class Instance:
    """A machine of the cloud.

    Attributes:
        host: its name among the hosts.
        lifecycle: spot or on-demand.
        running: as EC2 says.
    """

    instance_id: str
    host: str
    kind: str
    lifecycle: str
    running: bool = True


@dataclass
class Cloud:
    """The instances that there were, in the order of their boots."""

    made: Hosts
    instances: dict[str, Instance] = field(default_factory=dict)
    failure: BaseException | None = None

    def heads(self) -> list[Instance]:
        """Those that are gone, too."""
        assert self.failure is None, self.failure
        return [i for i in self.instances.values() if i.kind == HEAD]

    def workers(self) -> list[Instance]:
        """Those that are gone, too."""
        assert self.failure is None, self.failure
        return [i for i in self.instances.values() if i.kind != HEAD]

    def ask(self, program: str) -> str:
        """What a program with `boto3` prints on the laptop."""
        code, said = self.made.run("laptop", "python", "-c", f"import boto3\n{program}", **LAPTOP)
        assert code == 0, said
        return said

    def give_notice(self, instance: Instance, seconds: float) -> None:
        """Tell an instance, as EC2 does, that it will be taken away."""
        at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        notice = json.dumps({"action": "terminate", "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")})
        code, said = self.made.run(instance.host, "python", "-c", f"open({str(NOTICE)!r}, 'w').write({notice!r})")
        assert code == 0, said

    def take_away(self, instance: Instance) -> None:
        """End an instance, as EC2 does when its notice is over."""
        self.ask(f"boto3.client('ec2').terminate_instances(InstanceIds=[{instance.instance_id!r}])")

    def follow(self, pieces: Iterator[str]) -> None:
        """Boot and end hosts as EC2 says."""
        try:
            for line in pieces:
                for found in json.loads(line):
                    self._follow(found)
        except BaseException as error:
            self.failure = error
            raise

    def _follow(self, found: dict[str, Any]) -> None:
        known = self.instances.get(found["InstanceId"])
        if known is None and found["state"] == "running":
            host = "ip-" + found["PrivateIpAddress"].replace(".", "-")
            self.made.add(host, found["PrivateIpAddress"])
            sh("ip", "-n", f"{self.made.prefix}-{host}", "addr", "add", f"{METADATA}/32", "dev", "lo")
            self.made.background(host, "python", str(SHARED / "ec2.py"), "metadata")
            lifecycle = found["InstanceLifecycle"] or "on-demand"
            known = Instance(found["InstanceId"], host, found["InstanceType"], lifecycle)
            self.instances[known.instance_id] = known
            print(f"\n[{time.strftime('%T')}] boot {known}", flush=True)
        elif known is not None and known.running and found["state"] in ("shutting-down", "terminated", "stopped"):
            known.running = False
            self.made.drop(known.host)
            print(f"\n[{time.strftime('%T')}] halt {known}", flush=True)


LAPTOP = {
    "AWS_ENDPOINT_URL": ENDPOINT, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "AKIAXLRAY", "AWS_SECRET_ACCESS_KEY": "secret", "PYTHONPATH": str(TOP),
}  # fmt: skip


@contextmanager
def cloud(made: Hosts) -> Iterator[Cloud]:
    """A cloud without instances, with a bucket, the key pair `xlray` of the hosts' key, and two instance profiles."""
    for name in ("ec2", "hosts", "s3_server", "imds_server"):
        shutil.copyfile(Path(__file__).parent / f"{name}.py", made.work / "shared" / f"{name}.py")
    found = Cloud(made)
    log = (made.work / "log" / "ec2.log").open("ab")
    server = subprocess.Popen(
        made.on("cloud", "python", str(SHARED / "ec2.py"), "serve"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n", (made.work / "log" / "ec2.log").read_text()
    thread = threading.Thread(target=found.follow, args=(server.stdout,))
    thread.start()
    try:
        yield found
    finally:
        made.drop("cloud")  # with it the server, whose end the thread waits for
        thread.join(timeout=60)
        server.wait(timeout=60)
        log.close()


def serve() -> None:
    """AWS as moto has it, on this host; prints the instances every second."""
    import boto3
    from moto.ec2.exceptions import EC2ClientError
    from moto.ec2.responses.instances import InstanceResponse
    from s3_server import start_server

    run, ask = InstanceResponse.run_instances, InstanceResponse._get_param

    def run_instances(self: Any) -> Any:
        if NO_SPOT.exists() and ask(self, "InstanceMarketOptions.MarketType") == "spot":
            raise EC2ClientError("InsufficientInstanceCapacity", "There is no Spot capacity available.")
        return run(self)

    def get_param(self: Any, name: str, *words: Any, **named: Any) -> Any:
        # EC2 starts as many as it can, up to MaxCount; moto MinCount.
        return ask(self, "MaxCount" if name == "MinCount" else name, *words, **named)

    InstanceResponse.run_instances, InstanceResponse._get_param = run_instances, get_param
    start_server(CLOUD, PORT)
    ec2, iam = (boto3.client(name, region_name=REGION) for name in ("ec2", "iam"))
    for role in ("xlray-head", "xlray-worker"):
        iam.create_instance_profile(InstanceProfileName=role)
    ec2.import_key_pair(KeyName="xlray", PublicKeyMaterial=(SHARED / ".key.pub").read_bytes())
    print("ready", flush=True)
    while True:
        found = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
        print(json.dumps([{k: i.get(k) for k in FIELDS} | {"state": i["State"]["Name"]} for i in found]), flush=True)
        time.sleep(1.0)


def metadata() -> None:
    """The metadata service of this host."""
    from imds_server import start_instance

    instance, _, _ = start_instance((METADATA, 80))
    now = datetime.datetime.now(datetime.UTC)
    times = {"LastUpdated": now.isoformat(), "Expiration": (now + datetime.timedelta(hours=6)).isoformat()}
    roles = "/latest/meta-data/iam/security-credentials/"
    instance.texts |= {
        roles: "role",
        f"{roles}role": json.dumps({"Code": "Success", "Type": "AWS-HMAC", **KEYS, **times}),
    }
    while True:
        if NOTICE.exists():
            instance.texts["/latest/meta-data/spot/instance-action"] = NOTICE.read_text()
        time.sleep(0.2)


if __name__ == "__main__":
    {"serve": serve, "metadata": metadata}[sys.argv[1]]()
