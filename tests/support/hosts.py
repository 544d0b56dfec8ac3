"""Several hosts on one machine, out of Linux namespaces: own address, process table, file system view and sshd each.

A bridge in a namespace of its own is the switch. The machine's own network gets nothing: no link, no address, no route, no
rule; and there is no way out of the hosts' network. Needs root, iproute2, util-linux, openssh-server and rsync.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).parents[2]
PROGRAMS = ("ip", "unshare", "nsenter", "ssh", "ssh-keygen", "rsync", "/usr/sbin/sshd", "mount")
HOME = os.path.expanduser("~root")  # noqa: PTH111  of another user
SHARED = Path("/mnt/shared")  # on every host the same folder
# A host's first process: mounts what is its own, starts sshd, and reaps what has lost its parent.
BOOT = r"""
set -e
home=~root
mount --make-rprivate /
hostname "$HOST"
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/old-tmp /mnt/old-root /mnt/shared
mount --rbind /tmp /mnt/old-tmp; mount --bind "$home" /mnt/old-root; mount --bind "$WORK/shared" /mnt/shared
mount -t tmpfs -o mode=1777 tmpfs /tmp; mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "/mnt/old-tmp${WORK#/tmp}/disk/$HOST"; mount --bind "/mnt/old-tmp${WORK#/tmp}/disk/$HOST" "$home"; chmod 700 "$home"
for path in $VISIBLE; do
  case $path in
    /tmp/*) mkdir -p "$path"; mount --bind "/mnt/old-tmp${path#/tmp}" "$path";;
    "$home"/*) mkdir -p "$path"; mount --bind "/mnt/old-root${path#"$home"}" "$path";;
  esac
done
umount /mnt/old-root; umount -l /mnt/old-tmp
mount -t proc proc /proc
printf '127.0.0.1 localhost\n%b' "$NAMES" > /run/hosts; mount --bind /run/hosts /etc/hosts
sed 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf > /run/nsswitch.conf; mount --bind /run/nsswitch.conf /etc/nsswitch.conf
mkdir -p "$home/.ssh" /run/sshd; chmod 700 "$home/.ssh"
cp /mnt/shared/.key.pub "$home/.ssh/authorized_keys"; chmod 600 "$home/.ssh/authorized_keys"
ln -sfn "$VENV" "$home/venv"
[ -e "$home/.bashrc" ] || printf 'export PYTHONPATH=%s/xlray OMP_NUM_THREADS=1 %s\n' "$home" "$SETTINGS" > "$home/.bashrc"
ssh-keygen -q -t ed25519 -N '' -f /run/hostkey
/usr/sbin/sshd -D -e -f /dev/null -h /run/hostkey -o PidFile=none -o UsePAM=no -o UseDNS=no -o PasswordAuthentication=no \
  -o PermitRootLogin=prohibit-password -o MaxSessions=50 -o ListenAddress="$ADDRESS" </dev/null &
touch /run/ready
sleep infinity & while :; do wait -n || true; [ -n "$(jobs -p)" ] || sleep 1; done
"""


def missing() -> str:
    """Why hosts cannot be made here, or ""."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"needs {', '.join(lacking)}" if lacking else ""


def sh(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@dataclass
class Hosts:
    """The hosts of one test.

    Attributes:
        work: folder for keys and logs; `work/shared` is what all hosts see as `SHARED`.
        prefix: of the namespaces' names.
        mask: bits of the network's address.
        settings: variables that shells on the hosts set, as `NAME=VALUE ...`.
        addresses: of the hosts that are known, by name: each knows those that were there before it.
    """

    work: Path
    prefix: str
    mask: int = 24
    settings: str = ""
    addresses: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def create(self) -> None:
        """Make keys and the switch."""
        (self.work / "shared").mkdir()
        (self.work / "log").mkdir()
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.work / "key"))
        shutil.copyfile(self.work / "key.pub", self.work / "shared" / ".key.pub")
        switch = f"{self.prefix}-switch"
        sh("ip", "netns", "add", switch)
        sh("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        sh("ip", "-n", switch, "link", "set", "br0", "up")

    def add(self, name: str, address: str) -> None:
        """Make a host and boot it."""
        switch, own, link = f"{self.prefix}-switch", f"{self.prefix}-{name}", f"v{len(self.links)}"
        self.addresses[name], self.links[name] = address, link
        sh("ip", "netns", "add", own)
        sh("ip", "-n", switch, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", own)
        sh("ip", "-n", switch, "link", "set", link, "master", "br0", "up")
        sh("ip", "-n", own, "link", "set", "lo", "up")
        sh("ip", "-n", own, "addr", "add", f"{address}/{self.mask}", "dev", "eth0")
        sh("ip", "-n", own, "link", "set", "eth0", "up")
        # Leads nowhere: Ray asks which address it would leave by.
        sh("ip", "-n", own, "route", "add", "default", "via", ".".join([*address.split(".")[:3], "250"]))
        self.start(name)

    def start(self, name: str) -> None:
        """Boot a host, and wait until its sshd answers."""
        visible = [sys.prefix, sys.base_prefix, *([str(TOP), str(self.work)] if name == "laptop" else [])]
        environment = {
            **{"HOST": name, "WORK": str(self.work), "VISIBLE": " ".join(visible), "VENV": sys.prefix},
            **{"ADDRESS": self.addresses[name], "PATH": os.environ["PATH"], "SETTINGS": self.settings},
            "NAMES": "".join(f"{address} {host}\\n" for host, address in self.addresses.items()),
        }
        command = ["ip", "netns", "exec", f"{self.prefix}-{name}", "unshare", "--mount", "--pid", "--uts", "--ipc"]
        with (self.work / "log" / f"{name}.log").open("ab") as log:
            self.started[name] = subprocess.Popen(
                [*command, "--fork", "--kill-child=KILL", "bash", "-c", BOOT],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + 60
        while not self._is_up(name):
            assert time.monotonic() < until, (self.work / "log" / f"{name}.log").read_text()
            time.sleep(0.1)

    def _first(self, name: str) -> str:
        pid = self.started[name].pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()

    def _is_up(self, name: str) -> bool:
        with contextlib.suppress(OSError):
            return bool(first := self._first(name)) and (Path("/proc") / first / "root" / "run" / "ready").exists()
        return False

    def on(self, name: str, *command: str, **environment: str) -> list[str]:
        """A command line that runs on a host."""
        plain = {"HOME": HOME, "USER": "root", "LOGNAME": "root", "TERM": "dumb", "LANG": "C.UTF-8"}
        path = f"{sys.prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        known = {**plain, "PATH": path, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1", **environment}
        inside = ("-m", "-p", "-n", "-u", "-i", "--", "env", "-i", "-C", str(TOP) if name == "laptop" else HOME)
        enter = ["nsenter", "-t", self._first(name), *inside]
        return [*enter, *(f"{key}={value}" for key, value in known.items()), *command]

    def run(self, name: str, *command: str, timeout_s: float = 300, **environment: str) -> tuple[int, str]:
        """Run a command on a host; its exit code, and what it printed."""
        done = subprocess.run(
            self.on(name, *command, **environment),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout_s,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def background(self, name: str, *command: str, **environment: str) -> None:
        """Start a command that ends with its host."""
        with (self.work / "log" / f"{name}.log").open("ab") as log:
            words = self.on(name, *command, **environment)
            self.others.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def processes(self, name: str) -> list[str]:
        """Command lines on a host."""
        _, listed = self.run(name, "ps", "-eo", "args", "--no-headers")
        return listed.splitlines()

    def power_off(self, name: str) -> None:
        """The cable first, so that nobody hears of it, then every process."""
        sh("ip", "-n", f"{self.prefix}-switch", "link", "set", self.links[name], "down")
        os.kill(int(self._first(name)), signal.SIGKILL)
        self.started.pop(name).wait(timeout=60)

    def power_on(self, name: str) -> None:
        """Boot it again: what was below its home is there, /tmp is empty. Ray only starts itself on a worker that is back."""
        self.start(name)
        sh("ip", "-n", f"{self.prefix}-switch", "link", "set", self.links[name], "up")

    def freeze(self, name: str, seconds: float) -> None:
        """A host that answers nobody for a while, as one that swaps or whose disk hangs."""
        assert self.run(name, "bash", "-c", "kill -STOP -1")[0] == 0
        time.sleep(seconds)
        assert self.run(name, "bash", "-c", "kill -CONT -1")[0] == 0

    def drop(self, name: str) -> None:
        """A host that never comes back."""
        if name in self.started:
            self.power_off(name)
        sh("ip", "netns", "del", f"{self.prefix}-{name}")

    def remove(self) -> None:
        """End everything: processes with their hosts, then the namespaces."""
        for process in [*self.started.values(), *self.others]:
            process.kill()
            process.wait(timeout=60)
        for namespace in namespaces(self.prefix):
            sh("ip", "netns", "del", namespace)


def namespaces(prefix: str) -> list[str]:
    """Network namespaces of a test that exist."""
    listed = (line.split()[0] for line in sh("ip", "netns", "list").splitlines() if line)
    return [name for name in listed if name.startswith(f"{prefix}-")]


@contextlib.contextmanager
def hosts(addresses: Mapping[str, str], mask: int = 24, settings: str = "") -> Iterator[Hosts]:
    """Hosts of these names and addresses, "laptop" among them; gone at the end."""
    work = Path(tempfile.mkdtemp(prefix="xlray-hosts-", dir="/tmp"))
    made = Hosts(work, f"xlray{os.getpid()}", mask, settings, dict(addresses))
    try:
        made.create()
        for name, address in addresses.items():
            made.add(name, address)
        yield made
    finally:
        made.remove()
        shutil.rmtree(work)
