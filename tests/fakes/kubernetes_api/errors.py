"""Refusals as the API server words them: a Status object with code, reason, message and details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_CAUSES = {
    "required": ("FieldValueRequired", "Required value"),
    "invalid": ("FieldValueInvalid", "Invalid value"),
    "duplicate": ("FieldValueDuplicate", "Duplicate value"),
    "forbidden": ("FieldValueForbidden", "Forbidden"),
    "unsupported": ("FieldValueNotSupported", "Unsupported value"),
    "missing": ("FieldValueNotFound", "Not found"),
    "long": ("FieldValueTooLong", "Too long"),
}


@dataclass(frozen=True)
class Cause:
    """What is wrong with one field."""

    field: str
    reason: str
    message: str

    def wire(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message, "field": self.field}

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class ApiError(Exception):
    """A refusal; `body` is what goes over the wire."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.details, self.metadata, self.retry_after_s = details, metadata or {}, retry_after_s

    @property
    def body(self) -> dict[str, Any]:
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": dict(self.metadata), "status": "Failure",
            "message": self.message,
            **({"reason": self.reason} if self.reason else {}),
            **({"details": dict(self.details)} if self.details else {}),
            "code": self.code,
        }  # fmt: skip


def go(value: Any) -> str:
    """A value as Go prints it in a field error."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{quoted}"'
    if isinstance(value, Mapping):
        return "map[string]string{" + ", ".join(f"{go(key)}:{go(item)}" for key, item in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[]string{" + ", ".join(go(item) for item in value) + "}"
    return "null" if value is None else str(value)


def cause(field: str, sort: str, text: str = "", *, value: Any = ...) -> Cause:
    """One field error: `sort` is a key of the six sorts above, `value` what was got, `text` what is wrong with it."""
    reason, head = _CAUSES[sort]
    parts = [head, *([] if value is ... else [go(value)]), *([text] if text else [])]
    return Cause(field, reason, ": ".join(parts))


def unsupported(field: str, value: Any, supported: Sequence[str]) -> Cause:
    return cause(field, "unsupported", "supported values: " + ", ".join(go(word) for word in supported), value=value)


def _details(name: str, group: str, kind: str) -> dict[str, Any]:
    return {**({"name": name} if name else {}), **({"group": group} if group else {}), "kind": kind}


def _dotted(kind: str, group: str) -> str:
    return f"{kind}.{group}" if group else kind


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    words = list(dict.fromkeys(map(str, causes)))  # what is found twice is said once
    told = words[0] if len(words) == 1 else "[" + ", ".join(words) + "]"
    return ApiError(
        422, "Invalid", f'{_dotted(kind, group)} "{name}" is invalid: {told}',
        {**_details(name, group, kind), "causes": [one.wire() for one in causes]},
    )  # fmt: skip


def not_found(plural: str, group: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{_dotted(plural, group)} "{name}" not found', _details(name, group, plural))


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(plural: str, group: str, name: str) -> ApiError:
    text = f'{_dotted(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", text, _details(name, group, plural))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(plural: str, group: str, name: str, why: str = MODIFIED) -> ApiError:
    text = f'Operation cannot be fulfilled on {_dotted(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", text, _details(name, group, plural))


def forbidden(plural: str, group: str, name: str, why: str) -> ApiError:
    subject = f'{_dotted(plural, group)} "{name}"' if name else _dotted(plural, group)
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", _details(name, group, plural))


def bad_request(text: str) -> ApiError:
    return ApiError(400, "BadRequest", text)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media(supported: Sequence[str]) -> ApiError:
    text = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(supported)
    return ApiError(415, "UnsupportedMediaType", text)


def gone_watch(since: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {since} ({oldest})")


def gone_list(token: str | None) -> ApiError:
    """An old `continue`: the answer brings a token that goes on without consistency; an old exact version: none."""
    if token is None:
        return ApiError(410, "Expired", "The resourceVersion for the provided list is too old.")
    text = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list."
    )
    return ApiError(410, "Expired", text, metadata={"continue": token})


def from_the_future(asked: int, current: int) -> ApiError:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return ApiError(
        504, "Timeout", f"Timeout: Too large resource version: {asked}, current: {current}",
        {"causes": causes, "retryAfterSeconds": 1}, retry_after_s=1,
    )  # fmt: skip


def internal(text: str) -> ApiError:
    return ApiError(500, "InternalError", f"Internal error occurred: {text}", {"causes": [{"message": text}]})


def too_many_requests(retry_after_s: int = 1) -> ApiError:
    text = "Too many requests, please try again later."
    return ApiError(429, "TooManyRequests", text, {"retryAfterSeconds": retry_after_s}, retry_after_s=retry_after_s)


def unavailable() -> ApiError:
    return ApiError(503, "ServiceUnavailable", "the server is currently unable to handle the request")
