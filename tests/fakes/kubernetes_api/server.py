"""The HTTP side: one aiohttp server in front of the registry."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any, Protocol

import msgspec
from aiohttp import web
from tests.fakes.kubernetes_api import discovery, errors
from tests.fakes.kubernetes_api.deletion import delete
from tests.fakes.kubernetes_api.errors import ApiError
from tests.fakes.kubernetes_api.faults import Faults, access_refused, failure, meets, recorded
from tests.fakes.kubernetes_api.kinds import Resource
from tests.fakes.kubernetes_api.lists import listing, selection
from tests.fakes.kubernetes_api.order import Seen
from tests.fakes.kubernetes_api.paths import Route, route
from tests.fakes.kubernetes_api.registry import Registry
from tests.fakes.kubernetes_api.watches import watching

USER = "system:serviceaccount:default:physlab"
_LARGEST = 3 << 20
_JSON = "application/json"


class Logs(Protocol):
    """Where logs of pods are answered."""

    async def answer(self, request: web.BaseRequest, namespace: str, name: str) -> web.StreamResponse: ...


class CutError(Exception):
    """The connection ends without an answer."""


def _answer(body: Any, code: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=code, content_type=_JSON, headers=headers)


def _plain(text: str, code: int) -> web.Response:
    return web.Response(text=text, status=code, content_type="text/plain")


class Server:
    """Answers requests; `faults` says what goes wrong."""

    def __init__(self, registry: Registry, logs: Logs, *, token: str, bookmark_s: float) -> None:
        self.faults = Faults()
        self.seen: deque[Seen] = deque(maxlen=100_000)
        self.address = ""
        self._registry, self._logs, self._token, self._bookmark_s = registry, logs, token, bookmark_s
        self._server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(self._server, handle_signals=False, shutdown_timeout=0.1)
        self._site: web.TCPSite | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; the port."""
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, host, port, ssl_context=tls, reuse_address=True)
        await self._site.start()
        sockets = self._site._server.sockets  # type: ignore[union-attr]
        found = sockets[0].getsockname()[1]
        self.address = f"{host}:{found}"
        return found

    async def close_listener(self) -> None:
        """New connections are refused; open ones are cut."""
        if self._site is not None:
            self._site._server.close()  # type: ignore[union-attr]
            self._site = None
        self.cut()

    async def open_listener(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        # A new runner would be a new server with no connections; the same handler factory listens again.
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(self._server, host, port, ssl=tls, reuse_address=True)
        self._site = _Listening(listener)  # type: ignore[assignment]

    async def stop(self) -> None:
        await self.close_listener()
        await self._runner.cleanup()

    def cut(self) -> int:
        """End all open connections without a word; how many there were."""
        found = [one.transport for one in self._server.connections if one.transport is not None]
        for transport in found:
            transport.abort()
        return len(found)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        watch = request.query.get("watch") in ("true", "1", "True")
        found = route(request.method, request.path, watch=watch)
        code = 0
        try:
            response = await self._guarded(request, found)
            code = response.status
            return response
        except CutError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        except ApiError as refusal:
            code = refusal.code
            headers = {"Retry-After": str(refusal.retry_after_s)} if refusal.retry_after_s else None
            return _answer(refusal.body, refusal.code, headers)
        finally:
            self.seen.append(Seen(found.verb, found.plural, found.namespace, found.name, found.part, code))

    async def _guarded(self, request: web.BaseRequest, found: Route) -> web.StreamResponse:
        if slow := self.faults.take(found, "slow"):
            await asyncio.sleep(slow.seconds)
        if self.faults.take(found, "cut"):
            raise CutError
        if self.faults.refuse_auth or request.headers.get("Authorization") != f"Bearer {self._token}":
            raise errors.unauthorized()
        if self.faults.take(found, "forbid"):
            raise access_refused(found, USER)
        if rule := self.faults.take(found, "answer"):
            raise recorded(rule.body) if rule.body else failure(rule.code)
        drop = self.faults.take(found, "drop")
        response = await self._respond(request, found)
        if drop:
            raise CutError
        return response

    async def _respond(self, request: web.BaseRequest, found: Route) -> web.StreamResponse:
        registry = self._registry
        if (found.group, found.plural) == ("authorization.k8s.io", "selfsubjectaccessreviews"):
            return await self._review(request)
        if not found.plural:
            body = discovery.answer(request.path, registry.profile, registry.kinds, self.address)
            if body is None:
                return _plain("404 page not found\n", 404)
            return _plain(body, 200) if isinstance(body, str) else _answer(body)
        resource = registry.kinds.find(found.group, found.version, found.plural)
        known = resource is not None and (not found.part or found.part in (*resource.subresources, "finalize"))
        if resource is None or not known or (resource.namespaced and found.name and not found.namespace):
            return _plain("404 page not found\n", 404)
        if found.part == "log":
            if request.method != "GET":
                raise errors.not_allowed()
            return await self._logs.answer(request, found.namespace, found.name)
        if found.verb == "watch":
            return await self._watch(request, resource, found)
        if request.method in ("POST", "PUT", "PATCH", "DELETE"):
            return await self._change(request, resource, found)
        if found.verb == "list":
            return _answer(listing(registry, resource, found.namespace, request.query))
        if found.verb == "get":
            return _answer(registry.get(resource, found.namespace, found.name))
        raise errors.not_allowed()

    async def _body(self, request: web.BaseRequest) -> Any:
        if (request.content_length or 0) > _LARGEST:
            await request.release()
            raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {_LARGEST}", {})
        raw = await request.content.read()
        if not raw:
            return None
        try:
            return msgspec.json.decode(raw)
        except msgspec.DecodeError as fault:
            raise errors.bad_request(f"couldn't get version/kind; json parse error: {fault}") from None

    async def _change(self, request: web.BaseRequest, resource: Resource, found: Route) -> web.StreamResponse:
        registry, warnings = self._registry, list[str]()
        body = await self._body(request)
        dry_run = self._dry_run(request, body)
        strict = request.query.get("fieldValidation") or "Warn"
        if found.verb == "create" and found.part == "eviction":
            options = (body or {}).get("deleteOptions") or {}
            delete(registry, resource, found.namespace, found.name, options, dry_run=dry_run)
            return _answer(
                {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
            )
        if found.verb == "create" and not found.name:
            if resource.namespaced and not found.namespace:
                raise errors.not_allowed()
            one = registry.shaped(resource, body, warnings, strict=strict)
            made = registry.create(resource, found.namespace, one, dry_run=dry_run)
            return _answer(made, 201, _warned(warnings))
        if found.verb == "update" and found.name:
            one = registry.shaped(resource, body, warnings, strict=strict)
            made = registry.replace(resource, found.namespace, found.name, one, part=found.part, dry_run=dry_run)
            return _answer(made, 200, _warned(warnings))
        if found.verb == "patch" and found.name:
            sort = request.content_type
            made = registry.patch(
                resource, found.namespace, found.name, body, sort, part=found.part, dry_run=dry_run, warnings=warnings,
                strict=strict,
            )  # fmt: skip
            return _answer(made, 200, _warned(warnings))
        if found.verb == "delete":
            options = _delete_options(request, body)
            return _answer(delete(registry, resource, found.namespace, found.name, options, dry_run=dry_run))
        if found.verb == "deletecollection":
            return self._delete_all(request, resource, found, _delete_options(request, body), dry_run=dry_run)
        raise errors.not_allowed()

    def _delete_all(
        self, request: web.BaseRequest, resource: Resource, found: Route, options: dict[str, Any], *, dry_run: bool,
    ) -> web.StreamResponse:  # fmt: skip
        wanted = selection(resource, request.query)
        chosen = [one for one in self._registry.store.all(resource, found.namespace) if wanted(one)]
        for one in chosen:
            metadata = one["metadata"]
            delete(self._registry, resource, metadata.get("namespace", ""), metadata["name"], options, dry_run=dry_run)
        metadata = {"resourceVersion": str(self._registry.store.revision)}
        kind = f"{resource.kind}List"
        return _answer({"kind": kind, "apiVersion": resource.api_version, "metadata": metadata, "items": chosen})

    @staticmethod
    def _dry_run(request: web.BaseRequest, body: Any) -> bool:
        options = body.get("dryRun") if request.method == "DELETE" and isinstance(body, dict) else None
        asked = request.query.getall("dryRun", []) or options or []
        if any(word != "All" for word in asked):
            fault = errors.unsupported("dryRun", asked[0], ("All",))
            raise errors.invalid("CreateOptions", "meta.k8s.io", "", [fault])
        return bool(asked)

    async def _watch(self, request: web.BaseRequest, resource: Resource, found: Route) -> web.StreamResponse:
        query = dict(request.query)
        if found.name:
            query["fieldSelector"] = f"metadata.name={found.name}"
        events = watching(self._registry, resource, found.namespace, query, self._bookmark_s)
        response = web.StreamResponse(headers={"Content-Type": _JSON})
        response.enable_chunked_encoding()
        selection(resource, query)
        await response.prepare(request)
        try:
            async for event in events:
                await response.write(msgspec.json.encode(event) + b"\n")
        except ConnectionError:
            return response
        finally:
            await events.aclose()  # type: ignore[attr-defined]
        await response.write_eof()
        return response

    async def _review(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await self._body(request) or {}
        asked = body.get("spec", {}).get("resourceAttributes") or {}
        plain = Route(
            asked.get("verb", ""), asked.get("group", ""), asked.get("version", ""), asked.get("resource", ""),
            asked.get("namespace", ""), asked.get("name", ""), asked.get("subresource", ""),
        )  # fmt: skip
        refused = any(rule.action == "forbid" and meets(rule, plain) for rule in self.faults.rules)
        status = {"allowed": not refused, **({"reason": "no rule allows it"} if refused else {})}
        return _answer({**body, "status": status}, 201)


class _Listening:
    """A listener that was opened again."""

    def __init__(self, server: asyncio.AbstractServer) -> None:
        self._server = server


def _warned(warnings: list[str]) -> dict[str, str] | None:
    if not warnings:
        return None
    return {"Warning": ", ".join('299 - "' + text.replace('"', '\\"') + '"' for text in warnings)}


def _delete_options(request: web.BaseRequest, body: Any) -> dict[str, Any]:
    options = dict(body) if isinstance(body, dict) else {}
    for word in ("propagationPolicy", "gracePeriodSeconds", "orphanDependents"):
        if word in request.query and word not in options:
            value: Any = request.query[word]
            if word == "gracePeriodSeconds":
                value = int(value)
            options[word] = value == "true" if word == "orphanDependents" else value
    return options
