"""`pods/log`: which container, which lines, follow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from aiohttp import web
from tests.fakes.kubernetes_api.errors import bad_request, cause, internal, invalid
from tests.fakes.kubernetes_api.kinds import PODS
from tests.fakes.kubernetes_api.kubelet.kubelets import Kubelets
from tests.fakes.kubernetes_api.kubelet.log import ContainerLog, Line
from tests.fakes.kubernetes_api.kubelet.slots import Slot
from tests.fakes.kubernetes_api.registry import Registry
from tests.fakes.kubernetes_api.store import Object

_TRUE = ("true", "1", "True")


class LogAnswers:
    """The log of containers over HTTP."""

    def __init__(self, registry: Registry, kubelets: Kubelets) -> None:
        self._registry, self._kubelets = registry, kubelets

    async def answer(self, request: web.BaseRequest, namespace: str, name: str) -> web.StreamResponse:
        """The asked lines; with `follow` until the container ends.

        Raises ApiError: 400 (which container, not started), 404, 422 (options).
        """
        query = request.query
        run = self._kubelets.run_of(namespace, name)
        pod = self._registry.get(PODS, namespace, name)
        _check(query, name)
        container = _container(pod, query.get("container", ""))
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        if run is None:
            await response.prepare(request)
            await response.write_eof()
            return response
        if self._kubelets.lost(pod["spec"]["nodeName"]):
            raise internal(f"dial tcp {pod['spec']['nodeName']}:10250: connect: no route to host")
        log = _log(run.containers()[container], name, previous=query.get("previous") in _TRUE)
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            await _send(response, log, query)
        except ConnectionError:
            return response
        await response.write_eof()
        return response


def _container(pod: Object, asked: str) -> str:
    spec = pod["spec"]
    names = [one["name"] for one in spec["containers"]]
    inits = [one["name"] for one in spec.get("initContainers") or []]
    name = pod["metadata"]["name"]
    if asked:
        if asked not in (*names, *inits):
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(names) == 1:
        return names[0]
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
    if inits:
        text += f" or one of the init containers: [{' '.join(inits)}]"
    raise bad_request(text)


def _log(slot: Slot, pod: str, *, previous: bool) -> ContainerLog:
    if previous:
        if slot.previous is None:
            raise bad_request(f'previous terminated container "{slot.name}" in pod "{pod}" not found')
        return slot.previous
    if slot.log is not None:
        return slot.log
    # Between two runs the log of the last one is still there.
    if slot.previous is not None:
        return slot.previous
    reason = slot.state.get("waiting", {}).get("reason", "ContainerCreating")
    told = {
        "ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image",
    }.get(reason, reason)  # fmt: skip
    raise bad_request(f'container "{slot.name}" in pod "{pod}" is waiting to start: {told}')


def _check(query: Mapping[str, str], name: str) -> None:
    causes = []
    for word, least in (("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)):
        if word in query:
            try:
                value = int(query[word])
            except ValueError:
                raise bad_request(f'strconv.ParseInt: parsing "{query[word]}": invalid syntax') from None
            if value < least:
                text = f"must be greater than {'or equal to ' if not least else ''}0"
                causes.append(cause(word, "invalid", text, value=value))
    if "sinceSeconds" in query and "sinceTime" in query:
        causes.append(cause("", "forbidden", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    if causes:
        raise invalid("PodLogOptions", "", name, causes)


def _since(query: Mapping[str, str]) -> datetime | None:
    if "sinceSeconds" in query:
        return datetime.now(UTC) - timedelta(seconds=int(query["sinceSeconds"]))
    if "sinceTime" in query:
        try:
            # The server hands whole seconds on to the kubelet.
            return datetime.fromisoformat(query["sinceTime"]).replace(microsecond=0)
        except ValueError:
            raise bad_request(f'parsing time "{query["sinceTime"]}" as "2006-01-02T15:04:05Z07:00"') from None
    return None


async def _send(response: web.StreamResponse, log: ContainerLog, query: Mapping[str, str]) -> None:
    since, stamps = _since(query), query.get("timestamps") in _TRUE
    left = int(query["limitBytes"]) if "limitBytes" in query else None
    lines, number = log.after(0)
    if since is not None:
        lines = [line for line in lines if line.at >= since]
    if "tailLines" in query:
        lines = _tail(lines, int(query["tailLines"]))
    begun = True
    while True:
        parts = []
        for line in lines:
            parts.append((line.stamp if stamps and begun else b"") + line.text)
            begun = line.text.endswith(b"\n")
        data = b"".join(parts)
        if left is not None:
            data, left = data[:left], left - len(data)
        if data:
            await response.write(data)
        if query.get("follow") not in _TRUE or (left is not None and left <= 0):
            return
        if log.closed and log.after(number)[1] == number:
            return
        await log.more(number)
        lines, number = log.after(number)


def _tail(lines: list[Line], count: int) -> list[Line]:
    """The last whole lines; a line may be in several pieces."""
    if not count:
        return []
    ends = [at for at, line in enumerate(lines) if line.text.endswith(b"\n")]
    if lines and (not ends or ends[-1] != len(lines) - 1):
        ends.append(len(lines) - 1)
    return lines if len(ends) <= count else lines[ends[-count - 1] + 1 :]
