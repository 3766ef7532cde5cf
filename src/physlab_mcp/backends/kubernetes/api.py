"""Requests to the API server, by the official client's asyncio half: its configuration, its credentials, its HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import anyio.to_thread
import msgspec

from physlab_mcp.backends.kubernetes.settings import SECTION, KubernetesSettings
from physlab_mcp.errors import UnavailableError

MERGE_PATCH = "application/merge-patch+json"
_LINE_BYTES = 1 << 26  # an object of the server is far smaller
PLURALS = {"Job": ("batch/v1", "jobs"), "CronJob": ("batch/v1", "cronjobs"), "Pod": ("v1", "pods"),
           "ConfigMap": ("v1", "configmaps"), "Secret": ("v1", "secrets"), "Event": ("v1", "events")}  # fmt: skip


class RefusalError(Exception):
    """The server answered no. `reason` is its word (AlreadyExists, NotFound, Expired, …)."""

    def __init__(self, code: int, reason: str, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.retry_after_s = code, reason, message, retry_after_s

    @property
    def passing(self) -> bool:
        """Whether the same request may be taken later: the server is busy, in trouble, or does not know us now."""
        return self.code in (401, 408, 409, 429) or self.code >= 500


def refusal_of(code: int, body: bytes, retry_after: str | None = None) -> RefusalError:
    """What a Status says; an answer that is none is told as it stands."""
    try:
        told: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError):
        told = None
    told = told if isinstance(told, dict) else {"message": body[:500].decode("utf-8", "replace")}
    wait = float(retry_after) if retry_after and re.fullmatch(r"\d{1,6}", retry_after) else 0.0
    message = str(told.get("message") or f"the server answered {code}")
    return RefusalError(code, str(told.get("reason") or ""), message, retry_after_s=wait)


def place_of(kind: str, namespace: str, name: str = "", part: str = "") -> str:
    """The path of a kind's objects in a namespace, or of one of them."""
    version, plural = PLURALS[kind]
    start = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    words = [start, "namespaces", quote(namespace), plural, quote(name), part]
    return "/".join(word for word in words if word)


class Api:
    """One API server. `calls` counts requests by verb and kind; sessions belong to the loop that made them."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._room = asyncio.Semaphore(settings.requests_at_once)
        self.calls: Counter[str] = Counter()
        self.host = ""

    async def open(self) -> Any:
        """The official client, made at first use.

        Raises:
            UnavailableError: there is no usable kubeconfig, or the package is not installed.

        """
        async with self._opening:
            if self._client is None:
                await anyio.to_thread.run_sync(_import)
                self._client = await self._made()
                self.host = self._client.configuration.host
        return self._client

    async def _made(self) -> Any:
        from kubernetes.aio import client, config

        made = client.Configuration()
        settings = self._settings
        named = settings.kubeconfig or os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
        if not settings.in_cluster and not any(Path(one).expanduser().is_file() for one in named.split(os.pathsep)):
            raise _unusable(named, "there is no such file")  # the client would write that into the log at each try
        try:
            if settings.in_cluster:
                config.load_incluster_config(client_configuration=made)
            else:
                await config.load_kube_config(
                    config_file=named, context=settings.context or None, client_configuration=made, persist_config=False
                )
            made.connection_pool_maxsize = 0  # many watches and logs are open at once; requests are counted here
            return client.ApiClient(made)
        except Exception as error:  # yaml's, ssl's and the client's own
            raise _unusable("the pod's service account" if settings.in_cluster else named, str(error)) from error

    async def aclose(self) -> None:
        """Close all connections; they are opened again when something is asked."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    # -- requests --------------------------------------------------------------------------------------------

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """An object or a list."""
        return await self.request("GET", path, query=query)

    async def create(self, manifest: Mapping[str, Any], query: Mapping[str, Any] | None = None) -> Any:
        """Make an object."""
        path = place_of(manifest["kind"], self._settings.namespace)
        return await self.request("POST", path, query=query, body=manifest)

    async def delete(
        self, kind: str, name: str, *, uid: str = "", propagation: str = "Background", grace_s: int | None = None
    ) -> bool:
        """Delete an object, if it still is the one with `uid`; whether it was there."""
        body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            await self.request("DELETE", place_of(kind, self._settings.namespace, name), body=body)
        except RefusalError as refusal:
            if refusal.code == 404 or (refusal.code == 409 and uid):
                return False
            raise
        return True

    async def delete_all(self, kind: str, selector: str) -> None:
        """Delete all of a kind with these labels, and what belongs to them."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        path = place_of(kind, self._settings.namespace)
        await self.request("DELETE", path, query={"labelSelector": selector}, body=body)

    async def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> Any:
        """Change an object by a merge patch."""
        path = place_of(kind, self._settings.namespace, name)
        return await self.request("PATCH", path, body=change, content_type=MERGE_PATCH)

    async def request(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None,
        content_type: str = "application/json",
    ) -> Any:  # fmt: skip
        """One request and its answer, decoded.

        Raises:
            RefusalError: the server refused it.
            UnavailableError: it did not answer in time, or cannot be reached.

        """
        self.calls[
            f"{method} {path.rpartition('/namespaces/')[2].split('/')[1] if '/namespaces/' in path else path}"
        ] += 1
        async with self._room:
            with self._told(path):
                answer = await self._send(
                    method, path, query=query, body=body, content_type=content_type,
                    timeout=self._settings.request_timeout_s,
                )  # fmt: skip
                data = await answer.read()
        if answer.status >= 400:
            raise refusal_of(answer.status, data, answer.headers.get("Retry-After"))
        try:
            return msgspec.json.decode(data) if data else None
        except (msgspec.DecodeError, ValueError) as error:
            raise UnavailableError(
                f"{self.host} answers what is no JSON, as no Kubernetes server does.", got=path
            ) from error

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, Any], *, silent_s: float
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """An answer as it comes, in chunks: a watch, a followed log. Not counted against `requests_at_once`.

        Raises:
            RefusalError: the server refused it.
            UnavailableError: it cannot be reached, or broke off, or said nothing for `silent_s`.

        """
        import aiohttp

        self.calls[f"STREAM {path.rpartition('/')[2]}"] += 1
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._settings.request_timeout_s, sock_read=silent_s
        )  # fmt: skip
        with self._told(path):
            answer = await self._send("GET", path, query=query, timeout=timeout)
        try:
            if answer.status >= 400:
                with self._told(path):
                    data = await answer.read()
                raise refusal_of(answer.status, data, answer.headers.get("Retry-After"))
            yield self._chunks(answer, path)
        finally:
            answer.response.close()

    async def _chunks(self, answer: Any, path: str) -> AsyncIterator[bytes]:
        with self._told(path):
            async for data in answer.response.content.iter_any():
                yield data

    async def _send(
        self, method: str, path: str, *, query: Mapping[str, Any] | None, timeout: Any, body: Any = None,
        content_type: str = "application/json",
    ) -> Any:  # fmt: skip
        import aiohttp

        client = await self.open()
        headers = {**client.default_headers, "Content-Type": content_type, "Accept": "application/json"}
        await client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        tail = f"?{urlencode(query)}" if query else ""
        if not isinstance(timeout, aiohttp.ClientTimeout):
            timeout = aiohttp.ClientTimeout(total=timeout)
        return await client.rest_client.request(
            method, client.configuration.host + path + tail, headers=headers, body=body, _request_timeout=timeout
        )

    @contextlib.contextmanager
    def _told(self, path: str) -> Any:
        """What the network does to a request, as our own error."""
        import aiohttp

        try:
            yield
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = str(error) or type(error).__name__
            raise UnavailableError(
                f"The Kubernetes API server {self.host or '(not known yet)'} cannot be reached: {what}.", got=path,
                remedy="Check the network and the kubeconfig; what runs on the cluster goes on.",
            ) from error  # fmt: skip


def _import() -> None:
    """The package takes a second to import: in a thread, so that the loop goes on."""
    try:
        for name in ("kubernetes.aio.client", "kubernetes.aio.config"):
            importlib.import_module(name)
    except ImportError as error:
        raise UnavailableError(
            f"The package for Kubernetes is not installed: {error}.",
            remedy="Install it: pip install 'physlab-mcp[cluster]'.",
        ) from error


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The whole lines of a stream."""
    rest = b""
    async for data in chunks:
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > _LINE_BYTES:
            raise UnavailableError("The Kubernetes API server sends a line without an end.", got=len(rest))
    if rest:
        yield rest


def _unusable(place: str, why: str) -> UnavailableError:
    return UnavailableError(
        f"The Kubernetes configuration cannot be used ({place}): {why}", field=f"{SECTION}.kubeconfig",
        got=place, remedy=f"Set {SECTION}.kubeconfig and {SECTION}.context, or mend the file.",
    )  # fmt: skip
