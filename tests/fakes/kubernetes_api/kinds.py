"""The kinds that the server serves, by version."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes.kubernetes_api.profiles import Profile

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One kind: `model` is the official client's class of it, from which known fields are read."""

    plural: str
    kind: str
    model: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    short: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources

    @property
    def item(self) -> str:
        """The kind as it stands in an Invalid message."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


_POD_FIELDS = (
    "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
    "status.phase", "status.podIP", "status.nominatedNodeName",
)  # fmt: skip
_EVENT_FIELDS = (
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
    "reason", "reportingComponent", "source", "type",
)  # fmt: skip

NAMESPACES = Resource("namespaces", "Namespace", "V1Namespace", namespaced=False, subresources=("status",),
                      fields=("status.phase",), short=("ns",))  # fmt: skip
NODES = Resource("nodes", "Node", "V1Node", namespaced=False, subresources=("status",),
                 fields=("spec.unschedulable",), short=("no",))  # fmt: skip
PODS = Resource("pods", "Pod", "V1Pod", subresources=("status", "log", "eviction"), fields=_POD_FIELDS, short=("po",))
CONFIGMAPS = Resource("configmaps", "ConfigMap", "V1ConfigMap", short=("cm",))
SECRETS = Resource("secrets", "Secret", "V1Secret", fields=("type",))
CLAIMS = Resource("persistentvolumeclaims", "PersistentVolumeClaim", "V1PersistentVolumeClaim",
                  subresources=("status",), short=("pvc",))  # fmt: skip
EVENTS = Resource("events", "Event", "CoreV1Event", fields=_EVENT_FIELDS, short=("ev",))
ACCOUNTS = Resource("serviceaccounts", "ServiceAccount", "V1ServiceAccount", short=("sa",))
JOBS = Resource("jobs", "Job", "V1Job", "batch", subresources=("status",), fields=("status.successful",))
PRIORITIES = Resource("priorityclasses", "PriorityClass", "V1PriorityClass", "scheduling.k8s.io", namespaced=False,
                      short=("pc",))  # fmt: skip

# What a cluster makes for itself or only reports; not "left behind" by anybody.
OWN = (NAMESPACES, NODES, EVENTS, PRIORITIES, ACCOUNTS)


class Kinds:
    """The kinds of one version, found by path or by name."""

    def __init__(self, profile: Profile) -> None:
        self.cronjobs = Resource("cronjobs", "CronJob", "V1CronJob", "batch", profile.batch_cronjobs,
                                 subresources=("status",), short=("cj",))  # fmt: skip
        self.all = (
            NAMESPACES,
            NODES,
            PODS,
            CONFIGMAPS,
            SECRETS,
            CLAIMS,
            EVENTS,
            ACCOUNTS,
            JOBS,
            self.cronjobs,
            PRIORITIES,
        )
        self._found = {(one.group, one.version, one.plural): one for one in self.all}
        self._kinds = {(one.api_version, one.kind): one for one in self.all}

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._found.get((group, version, plural))

    def of(self, api_version: str, kind: str) -> Resource | None:
        return self._kinds.get((api_version, kind))

    def groups(self) -> dict[str, list[str]]:
        """Named groups with their versions, the preferred one first."""
        found: dict[str, list[str]] = {}
        for one in self.all:
            if one.group and one.version not in found.setdefault(one.group, []):
                found[one.group].append(one.version)
        return {group: sorted(versions, key=len) for group, versions in found.items()}
