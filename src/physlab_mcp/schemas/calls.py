"""What a tool call may say: the base of the strict per-method models and the two tools' method tables.

One model per method. Its docstring is the method's one-line summary, its `example` a call that works as it stands.
`tools/flat_schema.py` publishes all models of a tool as one flat schema; the router validates with the strict model.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class CallPart(BaseModel):
    """Base of every object inside a call: unknown names are errors, values never change."""

    # Built at the first call, not at import: a client waits for the list of tools.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Call(CallPart):
    """Base of every method: what all of them take."""

    example: ClassVar[dict[str, Any]] = {}

    response_format: Literal["concise", "detailed"] = Field(default="concise")
    session_id: str | None = Field(default=None, min_length=1, max_length=200, description="groups calls")

    @classmethod
    def method_name(cls) -> str:
        """The value of `method` that selects this model."""
        return str(cls.model_fields["method"].annotation.__args__[0])  # type: ignore[union-attr]

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().split("\n", 1)[0]


class PublishedAs:
    """Marks an object that is published in a model's shape but handed over as it came.

    For a spec that a validation of its own reads whole, reporting every defect instead of the first.
    """

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model


class Waiting(Call):
    """Base of methods that may wait before they answer."""

    wait_s: float | None = Field(default=None, ge=0, le=25, description="seconds to wait")


class Listing(Call):
    """Base of methods that answer in pages."""

    limit: int = Field(default=20, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=2000, description="next_cursor")


LISTED_STATES = Literal[
    "pending",
    "held",
    "submitting",
    "queued",
    "running",
    "paused",
    "collecting",
    "succeeded",
    "failed",
    "cancelled",
    "skipped",
]
SINCE = "ISO time or age (2h, 7d)"
