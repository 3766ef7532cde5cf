"""What a server says of itself: version, groups, kinds."""

from __future__ import annotations

from typing import Any

from tests.fakes.kubernetes_api.kinds import VERBS, Kinds
from tests.fakes.kubernetes_api.profiles import Profile


def version(profile: Profile) -> dict[str, str]:
    return {
        "major": "1", "minor": str(profile.minor), "gitVersion": profile.git_version, "gitCommit": "fa" * 20,
        "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.22.5", "compiler": "gc",
        "platform": "linux/amd64",
    }  # fmt: skip


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    named = [{"groupVersion": f"{name}/{one}", "version": one} for one in versions]
    return {"name": name, "versions": named, "preferredVersion": named[0]}


def _resources(kinds: Kinds, group: str, wanted: str) -> dict[str, Any] | None:
    listed = []
    for one in kinds.all:
        if (one.group, one.version) != (group, wanted):
            continue
        entry = {"name": one.plural, "singularName": one.kind.lower(), "namespaced": one.namespaced, "kind": one.kind}
        short = {"shortNames": list(one.short)} if one.short else {}
        listed.append({**entry, "verbs": list(VERBS), **short})
        for part in one.subresources:
            verbs = {"log": ["get"], "eviction": ["create"]}.get(part, ["get", "patch", "update"])
            kind = {"eviction": "Eviction"}.get(part, one.kind)
            listed.append({**entry, "name": f"{one.plural}/{part}", "singularName": "", "kind": kind, "verbs": verbs})
    if not listed:
        return None
    name = f"{group}/{wanted}" if group else wanted
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": listed}


def answer(path: str, profile: Profile, kinds: Kinds, address: str) -> Any:
    """What stands at a path that is not of objects: a dict, a text, or None for nothing."""
    words = [word for word in path.split("/") if word]
    if words == ["version"]:
        return version(profile)
    if words and words[0] in ("healthz", "readyz", "livez"):
        return "ok"
    if words == ["api"]:
        served = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": served}
    groups = kinds.groups()
    if words == ["apis"]:
        listed = [_group(name, versions) for name, versions in groups.items()]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
    if len(words) == 2 and words[0] == "apis" and words[1] in groups:
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(words[1], groups[words[1]])}
    if words == ["api", "v1"]:
        return _resources(kinds, "", "v1")
    if len(words) == 3 and words[0] == "apis":
        return _resources(kinds, words[1], words[2])
    return None
