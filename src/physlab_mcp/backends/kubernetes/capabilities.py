"""What a server can do, by the version that it says it has.

The versions are those of the feature gates' pages in the Kubernetes documentation
(kubernetes.io/docs/reference/command-line-tools-reference/feature-gates and …/feature-gates-removed; source
kubernetes/website, content/en/docs/reference/command-line-tools-reference/feature-gates/<Gate>.md), read 2026-11.
A gate that is on by default can be turned off: what the server dropped is seen by `dropped_fields`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from physlab_mcp.errors import UnavailableError

OLDEST = (1, 20)  # the oldest against which anything was tried


class Feature(msgspec.Struct, frozen=True):
    """A feature, the first version in which it is used here, and where that is written."""

    name: str
    since: tuple[int, int]
    source: str


FEATURES = (
    Feature("ttl", (1, 23), "gate TTLAfterFinished: alpha 1.12, beta and on 1.21, stable 1.23"),
    Feature("indexed", (1, 24), "gate IndexedJob: alpha 1.21, beta and on 1.22, stable 1.24"),
    Feature("suspend", (1, 24), "gate SuspendJob: alpha 1.21, beta and on 1.22, stable 1.24"),
    Feature("cron", (1, 21), "kubernetes/enhancements issue 19: stable API batch/v1 1.21 (kubernetes PR 98965)"),
    Feature("cron_time_zone", (1, 25), "gate CronJobTimeZone: alpha 1.24, beta and on 1.25, stable 1.27"),
    Feature("strict_fields", (1, 25), "gate ServerSideFieldValidation: alpha 1.23, beta and on 1.25, stable 1.27"),
    Feature("tracked", (1, 26), "gate JobTrackingWithFinalizers: beta and on 1.25, stable 1.26"),
    Feature("failure_policy", (1, 26), "gate JobPodFailurePolicy: alpha 1.25, beta and on 1.26, stable 1.31"),
    Feature("disruptions", (1, 26), "gate PodDisruptionConditions: alpha 1.25, beta and on 1.26, stable 1.31"),
    Feature("limit_per_index", (1, 29), "gate JobBackoffLimitPerIndex: alpha 1.28, beta and on 1.29, stable 1.33"),
    Feature("replacement", (1, 29), "gate JobPodReplacementPolicy: alpha 1.28, beta and on 1.29, stable 1.34"),
)


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a server can do.

    ttl: finished Jobs go by themselves. indexed: one Job for many elements. suspend: a Job can wait. cron: batch/v1
    CronJobs. cron_time_zone: with a time zone. strict_fields: `fieldValidation=Strict` refuses unknown fields.
    tracked: a deleted pod counts as failed and is not made again unasked. failure_policy, disruptions: pods that were
    put out can be told from pods that failed. limit_per_index: one failed element leaves the others alone.
    replacement: a pod is made again only after the one before is gone.
    """

    version: tuple[int, int]
    ttl: bool = False
    indexed: bool = False
    suspend: bool = False
    cron: bool = False
    cron_time_zone: bool = False
    strict_fields: bool = False
    tracked: bool = False
    failure_policy: bool = False
    disruptions: bool = False
    limit_per_index: bool = False
    replacement: bool = False

    def missing(self) -> list[str]:
        """What it cannot do, each with the version that can, for `physlab doctor`."""
        return [
            f"{feature.name} (from {feature.since[0]}.{feature.since[1]})"
            for feature in FEATURES
            if not getattr(self, feature.name)
        ]


def parse_version(told: Mapping[str, Any]) -> tuple[int, int]:
    """(major, minor) of the answer to GET /version: `{"major": "1", "minor": "20+"}`, else of its gitVersion.

    Raises:
        UnavailableError: neither can be read.

    """
    numbers = [re.match(r"\d{1,4}", str(told.get(word, ""))) for word in ("major", "minor")]
    if numbers[0] is not None and numbers[1] is not None:
        return int(numbers[0].group()), int(numbers[1].group())
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})", str(told.get("gitVersion", "")))
    if found is None:
        raise UnavailableError(
            f"The Kubernetes server does not say its version: {str(dict(told))[:200]}.",
            got=dict(told), remedy="Check that the address in the kubeconfig is a Kubernetes API server.",
        )  # fmt: skip
    return int(found.group(1)), int(found.group(2))


def capabilities_of(told: Mapping[str, Any]) -> Capabilities:
    """What the server can do that answered `told` to GET /version.

    Raises:
        UnavailableError: it does not say its version, or is older than 1.20.

    """
    version = parse_version(told)
    if version < OLDEST:
        raise UnavailableError(
            f"The Kubernetes server is version {version[0]}.{version[1]}; this backend needs {OLDEST[0]}.{OLDEST[1]} or newer.",
            got=f"{version[0]}.{version[1]}", remedy="Use a newer cluster.",
        )  # fmt: skip
    return Capabilities(version=version, **{feature.name: version >= feature.since for feature in FEATURES})


def dropped_fields(sent: Any, stored: Any, at: str = "") -> list[str]:
    """Paths of what was sent and is not in the server's answer: a server drops what it does not know, without a word.

    Lists are compared by position; values that the server wrote in another form (`1000m` for `1`) do not count.
    """
    if isinstance(sent, Mapping):
        if not isinstance(stored, Mapping):
            return [at] if sent else []
        return [
            path
            for key, value in sent.items()
            for path in (
                dropped_fields(value, stored[key], f"{at}.{key}".lstrip("."))
                if key in stored
                else []
                if value in (None, "", {}, [])
                else [f"{at}.{key}".lstrip(".")]
            )
        ]
    if isinstance(sent, Sequence) and not isinstance(sent, str | bytes):
        if not isinstance(stored, Sequence) or len(stored) < len(sent):
            return [at] if sent else []
        return [path for n, value in enumerate(sent) for path in dropped_fields(value, stored[n], f"{at}[{n}]")]
    return []
