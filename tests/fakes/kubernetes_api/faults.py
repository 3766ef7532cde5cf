"""Switches of things that go wrong between client and server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fakes.kubernetes_api import errors
from tests.fakes.kubernetes_api.errors import ApiError
from tests.fakes.kubernetes_api.order import Rule
from tests.fakes.kubernetes_api.paths import Route


def meets(rule: Rule, route: Route) -> bool:
    """Whether a rule is for a request."""
    if rule.left == 0 or (rule.plural and rule.plural != route.plural):
        return False
    return not rule.verb or rule.verb == route.verb


@dataclass
class Faults:
    """The rules in force; read and changed in the server's loop."""

    refuse_auth: bool = False
    rules: list[Rule] = field(default_factory=list)

    def take(self, route: Route, *actions: str) -> Rule | None:
        """The first rule of these actions that meets the request; one of its turns is used up."""
        for rule in self.rules:
            if rule.action in actions and meets(rule, route):
                if rule.left is not None:
                    rule.left -= 1
                self.rules = [one for one in self.rules if one.left != 0]
                return rule
        return None


def failure(code: int) -> ApiError:
    """The Status that a server in trouble answers with."""
    made = {
        401: errors.unauthorized, 429: errors.too_many_requests, 503: errors.unavailable,
        504: lambda: ApiError(504, "Timeout", "Timeout: request did not complete within the allotted timeout", {}),
    }.get(code)  # fmt: skip
    return made() if made else errors.internal("etcdserver: leader changed")


def recorded(body: dict[str, Any]) -> ApiError:
    """A recorded Status, told again word for word."""
    refusal = ApiError(
        body["code"], body.get("reason", ""), body.get("message", ""), body.get("details"),
        metadata=body.get("metadata"),
    )  # fmt: skip
    return refusal


def access_refused(route: Route, user: str) -> ApiError:
    """What RBAC says."""
    where = f'in the namespace "{route.namespace}"' if route.namespace else "at the cluster scope"
    plural = f"{route.plural}/{route.part}" if route.part else route.plural
    why = f'User "{user}" cannot {route.verb} resource "{plural}" in API group "{route.group}" {where}'
    return errors.forbidden(route.plural, route.group, route.name, why)
