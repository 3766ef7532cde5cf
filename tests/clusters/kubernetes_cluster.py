"""A real Kubernetes API for tests (scripts/kubernetes-cluster.sh) with stand-ins for its kubelets, in a test process."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from tests.real_kubernetes.kubelet import Order

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "scripts" / "kubernetes-cluster.sh"
BUILD = REPOSITORY / "scripts" / "kubernetes-build.sh"
WANTED = "REAL_KUBERNETES"  # set by `make test-kubernetes`
TEST_IMAGE = "physlab/tests:1"  # this Python with its packages, and this repository
ROOM = 6  # pods of one core that find room
_START_S = 180.0
NODES: tuple[Mapping[str, Any], ...] = (
    {"name": "node-0", "cpu": str(ROOM)},
    {
        "name": "node-gpu",
        "cpu": "4",
        "gpu": 1,
        "taints": ({"key": "lab/gpu", "value": "fake", "effect": "NoSchedule"},),
    },
)


class Kubelet:
    """The stand-in for the kubelet of one node, a process of its own."""

    def __init__(self, cluster: KubernetesCluster, **node: Any) -> None:
        self.name: str = node["name"]
        self._cluster = cluster
        images = {TEST_IMAGE: {"paths": [str(REPOSITORY)], "env": {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"}}}
        self._order = Order(
            root=str(cluster.root / "nodes" / self.name), pki=str(cluster.root / "pki"), server=cluster.server,
            version=cluster.version, images=images, **node,
        )  # fmt: skip
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Register the node; its pods run from now on."""
        log = self._cluster.root / "log" / f"{self.name}.log"
        with log.open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.real_kubernetes.kubelet"], cwd=REPOSITORY, text=True, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(self._order.line())
        self._process.stdin.flush()

    def evict(self, namespace: str, pod: str, message: str) -> None:
        """Have the node put a pod out for want of memory."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"evict {namespace} {pod} Evicted {message}\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        """Until the node is registered."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], 60.0)
        word = process.stdout.readline() if ready else ""
        log = self._cluster.root / "log" / f"{self.name}.log"
        assert word == "ready\n", f"{self.name} did not register:\n{log.read_text()[-3000:]}"

    def kill(self) -> None:
        """Switch the node off: no word to the server, and no process of its pods is left."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        _close(process)
        _forget_groups(process.pid)

    def end(self) -> None:
        """End it and its pods' processes in good order."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        _close(process)
        _forget_groups(process.pid)


def _close(process: subprocess.Popen[str]) -> None:
    process.wait(20)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _forget_groups(pid: int) -> None:
    """The memory groups of a stand-in that was killed; bubblewrap ends with it, but not at the same instant."""
    place = Path(f"/sys/fs/cgroup/memory/physlab-fake-{pid}")
    end = time.monotonic() + 5.0
    while place.exists() and time.monotonic() < end:
        try:
            for inner in place.iterdir():
                if inner.is_dir():
                    inner.rmdir()
            place.rmdir()
        except OSError:
            time.sleep(0.02)


class KubernetesCluster:
    """A running control plane; `kubeconfig` has the rights that docs/kubernetes.md asks for, `admin` has all."""

    def __init__(self, root: Path, namespace: str) -> None:
        self.root, self.namespace = root, namespace
        self.kubeconfig, self.admin = root / "kubeconfig", root / "admin.kubeconfig"
        self.version = "1.20"
        self.server = ""
        self.nodes: dict[str, Kubelet] = {}

    def up(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        """Start it with these nodes (fields of Order)."""
        self.do("up", self.namespace)
        config = json.loads(self.kubeconfig.read_text())
        self.server = config["clusters"][0]["cluster"]["server"]
        for node in nodes:
            self.add(**node)
        for kubelet in self.nodes.values():
            kubelet.wait()

    def add(self, **node: Any) -> Kubelet:
        """A further node: name, cpu, memory, gpu, labels."""
        self.do("sign", node["name"], f"/O=system:nodes/CN=system:node:{node['name']}", "127.0.0.1")
        self.nodes[node["name"]] = made = Kubelet(self, **node)
        made.start()
        return made

    def do(self, verb: str, *more: str) -> str:
        """A verb of the script; it must succeed."""
        done = subprocess.run(
            ["bash", str(SCRIPT), verb, str(self.root), *more], capture_output=True, text=True, check=False,
            timeout=_START_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{verb}: {done.stdout}{done.stderr}"
        return done.stdout

    def client(self, *, admin: bool = False) -> Any:
        """The official client's ApiClient; the caller closes it."""
        from kubernetes import client, config

        settings = client.Configuration()
        path = self.admin if admin else self.kubeconfig
        config.load_kube_config(str(path), client_configuration=settings)
        return client.ApiClient(settings)

    def down(self) -> None:
        """End all of it and remove its folder; again is no error."""
        for kubelet in self.nodes.values():
            kubelet.end()
        self.nodes.clear()
        if self.root.exists():
            self.do("down")


def missing() -> str:
    """Why no cluster can be started here; "" if one can."""
    done = subprocess.run(["bash", str(BUILD), "where"], capture_output=True, check=False, timeout=20)
    if done.returncode:
        return "Kubernetes is not built: `make test-kubernetes` does that and runs these tests"
    words = [word for word in ("etcd", "openssl", "jq", "curl", "bwrap") if shutil.which(word) is None]
    return f"not installed: {', '.join(words)}; run scripts/kubernetes-build.sh" if words else ""


def start(nodes: Sequence[Mapping[str, Any]] = NODES) -> KubernetesCluster:
    """A new cluster in a folder of its own. Ended by `down`, and in any case when this process is gone."""
    root = Path(tempfile.mkdtemp(prefix="physlab-kubernetes-"))
    made = KubernetesCluster(root, "physlab-test")
    # Somebody must end it if pytest is killed; the nodes end by themselves.
    watch = 'while kill -0 "$1" 2>/dev/null && [ -e "$3" ]; do sleep 1; done; bash "$2" down "$3"; rm -rf "$3"'
    subprocess.Popen(
        ["sh", "-c", watch, "watch", str(os.getpid()), str(SCRIPT), str(root)],
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        made.up(nodes)
    except BaseException:
        made.down()
        raise
    return made


def processes_below(root: Path, but: Collection[int] = ()) -> list[int]:
    """Processes of this machine with a cluster's folder in their arguments."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid not in but and any(str(root) in word for word in words):
            found.append(process.pid)
    return found


@cache
def started() -> KubernetesCluster:
    """The cluster of this test process."""
    return start()
