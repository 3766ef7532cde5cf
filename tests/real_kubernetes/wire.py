"""HTTPS requests of one node to the API server, with the node's own certificate."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from tests.fakes.kubernetes_api.kinds import Resource

MERGE = "application/merge-patch+json"
_LINE = 64 << 20


class RefusedError(Exception):
    """The server answered with something else than success; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


def path_of(resource: Resource, namespace: str = "", name: str = "", part: str = "") -> str:
    """The path of an object, or of all objects of a kind (of a namespace)."""
    head = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    words = [head, *(["namespaces", namespace] if namespace else []), resource.plural, name, part]
    return "/".join(word for word in words if word)


class Wire:
    """Requests to the server; every answer but success is a RefusedError."""

    def __init__(self, server: str, pki: Path, certificate: str) -> None:
        trust = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        trust.load_cert_chain(pki / f"{certificate}.crt", pki / f"{certificate}.key")
        self._server = server
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit=0), read_bufsize=1 << 20,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
        )  # fmt: skip

    async def ask(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None, sort: str = ""
    ) -> dict[str, Any]:
        """One request.

        Raises RefusedError, aiohttp.ClientError, TimeoutError (after 30 s).
        """
        headers = {"Content-Type": sort or "application/json", "Accept": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        limit = aiohttp.ClientTimeout(total=30.0)
        async with self._session.request(
            method, self._server + path, data=data, headers=headers, params=query, timeout=limit
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise RefusedError(answer.status, text)
            return json.loads(text)

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """The events of a watch until the server ends it.

        Raises RefusedError, aiohttp.ClientError.
        """
        given = {**query, "watch": "true", "timeoutSeconds": "600"}
        async with self._session.get(self._server + path, params=given) as answer:
            if answer.status >= 400:
                raise RefusedError(answer.status, await answer.text())
            rest = b""
            async for piece in answer.content.iter_any():
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    if line:
                        yield json.loads(line)
                if len(rest) > _LINE:
                    raise RefusedError(500, "a line without an end")

    async def close(self) -> None:
        await self._session.close()
