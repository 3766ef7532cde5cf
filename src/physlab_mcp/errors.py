"""The six errors of physlab. Every one names the thing, the value it got, the reason and the remedy."""

from __future__ import annotations

from typing import Any, ClassVar


class PhyslabError(Exception):
    """Base of all errors meant for a caller; `code` is stable and part of the interface."""

    code: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        got: Any = None,
        remedy: str | None = None,
        example: Any = None,
        details: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.got = got
        self.remedy = remedy
        self.example = example
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """The shape every outer protocol shows: {code, message, field, got, remedy, example[, details]}."""
        body: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "field": self.field,
            "got": self.got,
            "remedy": self.remedy,
            "example": self.example,
        }
        if self.details:
            body["details"] = self.details
        return body

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class RequestError(PhyslabError):
    """The request itself is wrong; sending it again unchanged cannot work."""

    code = "invalid_request"


class NotFoundError(PhyslabError):
    """No such thing, or not yours to see: both answer the same."""

    code = "not_found"


class ConflictError(PhyslabError):
    """The thing exists but is in a state that forbids this now."""

    code = "conflict"


class RejectedError(PhyslabError):
    """A backend or a policy refused it, naming the limit."""

    code = "rejected"


class UnavailableError(PhyslabError):
    """Something needed cannot be reached or is full or is not installed; try again after the remedy."""

    code = "unavailable"


class ForbiddenError(PhyslabError):
    """The caller may see the thing but not do this to it."""

    code = "forbidden"
