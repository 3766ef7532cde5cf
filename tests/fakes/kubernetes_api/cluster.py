"""The fake cluster as tests see it: a kubeconfig, switches, counts."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.fakes.kubernetes_api import recorded
from tests.fakes.kubernetes_api.kubelet.images import Image
from tests.fakes.kubernetes_api.node import Node
from tests.fakes.kubernetes_api.order import Order, Rule, Seen
from tests.fakes.kubernetes_api.pace import Pace
from tests.fakes.kubernetes_api.process import Child
from tests.fakes.kubernetes_api.profiles import Profile

IMAGES: Mapping[str, Image] = {"python:3.12": Image(), "busybox:1.36": Image(), "physlab/runner:1": Image()}


class FakeCluster:
    """A cluster in a process of its own, on a real socket; `version` is a minor version such as `1.20` or `1.31`.

    `plain` runs commands without a sandbox, as happens anyhow where bubblewrap does not work: then paths of mounts
    within the words of a command and its environment are replaced by those of this machine.
    Times that a real cluster takes long for are short (`pace`); grace periods, deadlines and times to live are real.
    """

    def __init__(
        self, version: str = "1.31", nodes: int | Sequence[Node] = 2, *, images: Mapping[str, Image] = IMAGES,
        host: str = "127.0.0.1", port: int = 0, tls: bool = False, namespace: str = "default", pace: Pace | None = None,
        log_bytes: int = 10 << 20, plain: bool = False,
    ) -> None:  # fmt: skip
        Profile.of(version)
        self.version, self.namespace = version, namespace
        self.host, self.port, self.token = host, port, secrets.token_hex(16)
        self._nodes = [Node(f"node-{at}") for at in range(nodes)] if isinstance(nodes, int) else list(nodes)
        self._images, self._tls, self._pace, self._log_bytes = images, tls, pace or Pace(), log_bytes
        self._plain = plain

    def __enter__(self) -> Self:
        self.root = Path(tempfile.mkdtemp(prefix="fake-kubernetes-"))
        self._child = Child.take()
        order = Order(
            self.version, tuple(self._nodes), dict(self._images), self.host, self.port, self._tls, self.root,
            self.token, self._pace, self._log_bytes, self._plain,
        )  # fmt: skip
        try:
            self.port = self._child.ask("make", order)
        except BaseException:
            self._child.end()
            shutil.rmtree(self.root, ignore_errors=True)
            raise
        self.kubeconfig = self.root / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(self._config()))
        self.kubeconfig.chmod(0o600)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._child.ask("stop")
            self._child.give()
        except BaseException:
            self._child.end()
            raise
        finally:
            shutil.rmtree(self.root, ignore_errors=True)

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.__exit__)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    def _config(self) -> dict[str, Any]:
        trust = {"certificate-authority": str(self.root / "server.crt")} if self._tls else {}
        context = {"cluster": "fake", "user": "physlab", "namespace": self.namespace}
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url, **trust}}],
            "users": [{"name": "physlab", "user": {"token": self.token}}],
            "contexts": [{"name": "fake", "context": context}],
        }  # fmt: skip

    def _space(self, namespace: str | None) -> str:
        return self.namespace if namespace is None else namespace

    # What is there.

    def objects(self) -> dict[str, int]:
        """How many objects of each kind there are; nodes, namespaces, events and the cluster's own are not counted."""
        return self._child.ask("objects")

    def all(self, kind: str, namespace: str = "") -> list[dict[str, Any]]:
        """Objects of a kind (its plural) as they stand in the store."""
        return self._child.ask("all", kind, namespace)

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """One object as it stands in the store."""
        return self._child.ask("get", kind, name, self._space(namespace))

    @property
    def revision(self) -> int:
        return self._child.ask("revision")

    def requests(self) -> list[Seen]:
        """All requests so far, in order; a watch or a followed log is told when it ends."""
        return self._child.ask("requests")

    @property
    def problems(self) -> list[str]:
        """What went wrong inside the fake itself; empty in a good test."""
        return self._child.ask("problems")

    # What goes wrong between client and server.

    def compact(self, *, break_watches: bool = False) -> None:
        """Forget all history: old revisions and continue tokens are 410 from now on; open watches too if asked."""
        self._child.ask("compact", break_watches=break_watches)

    def cut_connections(self) -> int:
        """End all open connections, watches and followed logs without a word; how many there were."""
        return self._child.ask("cut_connections")

    def down(self) -> None:
        """The server is away: open connections are cut, new ones refused; controllers and pods go on."""
        self._child.ask("down")

    def up(self) -> None:
        """The server is back at the same address."""
        self._child.ask("up")

    def _rule(self, action: str, verb: str, kind: str, count: int | None, **more: Any) -> None:
        self._child.ask("rule", Rule(action, verb, kind, count, **more))

    def fail(self, code: int = 500, *, verb: str = "", kind: str = "", count: int | None = 1) -> None:
        """Answer the next requests (`count` None: all) of a verb and a kind (plural; empty: any) with an error."""
        self._rule("answer", verb, kind, count, code=code)

    def refuse(
        self, code: int, reason: str, message: str, *, verb: str = "", kind: str = "", count: int | None = 1,
    ) -> None:  # fmt: skip
        """Answer the next requests with a Status of these words: a quota, a webhook."""
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
        self._rule("answer", verb, kind, count, code=code, body={**body, "reason": reason, "message": message})

    def slow(self, seconds: float, *, verb: str = "", kind: str = "", count: int | None = None) -> None:
        """Answer later."""
        self._rule("slow", verb, kind, count, seconds=seconds)

    def cut_requests(self, *, verb: str = "", kind: str = "", count: int | None = 1) -> None:
        """End the connection before the request is carried out."""
        self._rule("cut", verb, kind, count)

    def drop_answers(self, *, verb: str = "", kind: str = "", count: int | None = 1) -> None:
        """Carry the request out and end the connection in place of an answer."""
        self._rule("drop", verb, kind, count)

    def refuse_auth(self, refuse: bool = True) -> None:
        """Answer everything with 401."""
        self._child.ask("refuse_auth", refuse)

    def forbid(self, *, verb: str = "", kind: str = "") -> None:
        """Answer with 403 as RBAC does."""
        self._rule("forbid", verb, kind, None)

    def replay(
        self, case: str, *, verb: str = "", kind: str = "", count: int | None = 1, folder: Path = recorded.FOLDER,
    ) -> None:  # fmt: skip
        """Answer with a recorded body of a real server, word for word; of this version where there is one."""
        found = [one for one in recorded.cases(folder) if one.name == case]
        if not found:
            raise LookupError(f"no recorded case {case} in {folder}")
        chosen = next((one for one in found if one.minor == self.version), found[-1])
        self._rule("answer", verb, kind, count, code=chosen.code, body=chosen.answer)

    def heal(self) -> None:
        """Take back all faults between client and server."""
        self._child.ask("heal")

    # What happens to nodes and pods.

    def lose_node(self, name: str, *, kill: bool = True) -> None:
        """A node stops reporting; its containers die (`kill`) or run on unseen."""
        self._child.ask("lose_node", name, kill=kill)

    def find_node(self, name: str) -> None:
        """A lost node reports again."""
        self._child.ask("find_node", name)

    def evict(self, pod: str, namespace: str | None = None, *, message: str = "") -> None:
        """A kubelet evicts a pod for want of memory."""
        self._child.ask("evict", pod, self._space(namespace), message)

    def add_image(self, name: str, image: Image | None = None) -> None:
        """From now on an image can be pulled."""
        self._child.ask("add_image", name, image or Image())

    def remove_image(self, name: str) -> None:
        self._child.ask("remove_image", name)

    def fire(self, cronjob: str, namespace: str | None = None) -> str | None:
        """A CronJob is due now; the name of its Job, or None where its policy lets none begin."""
        return self._child.ask("fire", cronjob, self._space(namespace))
