"""What is wrong with a pod's spec."""

from __future__ import annotations

import re
from typing import Any

from tests.fakes.kubernetes_api.errors import Cause, cause, unsupported
from tests.fakes.kubernetes_api.names import dns_label_faults, label_key_faults, label_value_faults, variable_faults
from tests.fakes.kubernetes_api.profiles import Profile
from tests.fakes.kubernetes_api.quantities import amount

Object = dict[str, Any]
RESTART = ("Always", "OnFailure", "Never")
_PULL = ("Always", "IfNotPresent", "Never")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_COUNTED = "must be an integer"
_PLAIN = ("cpu", "memory", "ephemeral-storage", "pods")


def spec_faults(spec: Object, at: str, profile: Profile) -> list[Cause]:
    """Faults of a pod spec that has its defaults already; `at` is where it stands, such as `spec.template.spec`."""
    causes, names = _volumes(spec.get("volumes") or [], f"{at}.volumes")
    containers = spec.get("containers") or []
    if not containers:
        causes.append(cause(f"{at}.containers", "required"))
    seen: set[str] = set()
    for word in ("containers", "initContainers"):
        for index, one in enumerate(spec.get(word) or []):
            causes += _container(one, f"{at}.{word}[{index}]", seen, names, profile)
    if spec.get("restartPolicy") not in RESTART:
        causes.append(unsupported(f"{at}.restartPolicy", spec.get("restartPolicy"), RESTART))
    causes += _node_choice(spec, at)
    grace = spec.get("terminationGracePeriodSeconds", 30)
    if grace < 0:
        field = f"{at}.terminationGracePeriodSeconds"
        causes.append(cause(field, "invalid", "must be greater than or equal to 0", value=grace))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        text = "must be between 1 and 2147483647, inclusive"
        causes.append(cause(f"{at}.activeDeadlineSeconds", "invalid", text, value=deadline))
    context = spec.get("securityContext") or {}
    causes += _identity(context, f"{at}.securityContext")
    if spec.get("hostname"):
        causes += [
            cause(f"{at}.hostname", "invalid", text, value=spec["hostname"])
            for text in dns_label_faults(spec["hostname"])
        ]
    return causes


def _identity(context: Object, at: str) -> list[Cause]:
    return [
        cause(f"{at}.{word}", "invalid", "must be between 0 and 2147483647, inclusive", value=context[word])
        for word in ("runAsUser", "runAsGroup", "fsGroup")
        if context.get(word) is not None and not 0 <= context[word] <= 2**31 - 1
    ]


def _node_choice(spec: Object, at: str) -> list[Cause]:
    causes = []
    for key, value in (spec.get("nodeSelector") or {}).items():
        causes += [cause(f"{at}.nodeSelector", "invalid", text, value=key) for text in label_key_faults(key)]
        causes += [cause(f"{at}.nodeSelector", "invalid", text, value=value) for text in label_value_faults(value)]
    for index, one in enumerate(spec.get("tolerations") or []):
        field, operator = f"{at}.tolerations[{index}]", one.get("operator", "Equal")
        if operator not in ("Equal", "Exists"):
            causes.append(unsupported(f"{field}.operator", operator, ("Equal", "Exists")))
        if not one.get("key") and operator != "Exists":
            text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            causes.append(cause(f"{field}.operator", "invalid", text, value=operator))
        if operator == "Exists" and one.get("value"):
            text = "value must be empty when `operator` is 'Exists'"
            causes.append(cause(f"{field}.operator", "invalid", text, value=one["value"]))
        if one.get("effect") and one["effect"] not in _EFFECTS:
            causes.append(unsupported(f"{field}.effect", one["effect"], _EFFECTS))
        if one.get("tolerationSeconds") is not None and one.get("effect") != "NoExecute":
            text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            causes.append(cause(f"{field}.effect", "invalid", text, value=one.get("effect", "")))
    return causes


def _volumes(volumes: list[Object], at: str) -> tuple[list[Cause], set[str]]:
    causes: list[Cause] = []
    names: set[str] = set()
    for index, one in enumerate(volumes):
        field, name = f"{at}[{index}]", one.get("name", "")
        sources = [word for word in one if word != "name"]
        causes += [
            cause(f"{field}.{extra}", "forbidden", "may not specify more than 1 volume type") for extra in sources[1:]
        ]
        if not sources:
            causes.append(cause(field, "required", "must specify a volume type"))
        causes += _source(one, field)
        if not name:
            causes.append(cause(f"{field}.name", "required"))
        elif name in names:
            causes.append(cause(f"{field}.name", "duplicate", value=name))
        else:
            causes += [cause(f"{field}.name", "invalid", text, value=name) for text in dns_label_faults(name)]
        names.add(name)
    return causes, names


_NEEDED = {
    "configMap": "name", "secret": "secretName", "persistentVolumeClaim": "claimName", "hostPath": "path",
}  # fmt: skip


def _source(one: Object, field: str) -> list[Cause]:
    causes = []
    for word, needed in _NEEDED.items():
        if word in one and not one[word].get(needed):
            causes.append(cause(f"{field}.{word}.{needed}", "required"))
    for index, item in enumerate((one.get("configMap") or one.get("secret") or {}).get("items") or []):
        inner = f"{field}.{'configMap' if 'configMap' in one else 'secret'}.items[{index}]"
        causes += [cause(f"{inner}.{word}", "required") for word in ("key", "path") if not item.get(word)]
        if ".." in item.get("path", "").split("/"):
            causes.append(cause(f"{inner}.path", "invalid", "must not contain '..'", value=item["path"]))
    return causes


def _container(one: Object, at: str, seen: set[str], volumes: set[str], profile: Profile) -> list[Cause]:
    causes: list[Cause] = []
    name, image = one.get("name", ""), one.get("image", "")
    if not name:
        causes.append(cause(f"{at}.name", "required"))
    elif name in seen:
        causes.append(cause(f"{at}.name", "duplicate", value=name))
    else:
        causes += [cause(f"{at}.name", "invalid", text, value=name) for text in dns_label_faults(name)]
    seen.add(name)
    if not image:
        causes.append(cause(f"{at}.image", "required"))
    elif image != image.strip():
        text = "must not have leading or trailing whitespace"
        causes.append(cause(f"{at}.image", "invalid", text, value=image))
    for index, variable in enumerate(one.get("env") or []):
        causes += _variable(variable, f"{at}.env[{index}]")
    causes += _mounts(one.get("volumeMounts") or [], f"{at}.volumeMounts", volumes)
    if one.get("imagePullPolicy") not in _PULL:
        causes.append(unsupported(f"{at}.imagePullPolicy", one.get("imagePullPolicy"), _PULL))
    causes += _resources(one.get("resources") or {}, f"{at}.resources", profile)
    causes += _identity(one.get("securityContext") or {}, f"{at}.securityContext")
    return causes


def _variable(one: Object, at: str) -> list[Cause]:
    name, source = one.get("name", ""), one.get("valueFrom")
    causes = []
    if not name:
        causes.append(cause(f"{at}.name", "required"))
    else:
        causes += [cause(f"{at}.name", "invalid", text, value=name) for text in variable_faults(name)]
    if source is not None:
        if one.get("value"):
            causes.append(
                cause(f"{at}.valueFrom", "invalid", "may not be specified when `value` is not empty", value="")
            )
        if len(source) != 1:
            text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
            more = "may not have more than one field specified at a time"
            causes.append(cause(f"{at}.valueFrom", "invalid", more if source else text, value=""))
        for word in ("configMapKeyRef", "secretKeyRef"):
            if word in source and not source[word].get("key"):
                causes.append(cause(f"{at}.valueFrom.{word}.key", "required"))
    return causes


def _mounts(mounts: list[Object], at: str, volumes: set[str]) -> list[Cause]:
    causes, places = [], set()
    for index, one in enumerate(mounts):
        field, name, place = f"{at}[{index}]", one.get("name", ""), one.get("mountPath", "")
        if not name:
            causes.append(cause(f"{field}.name", "required"))
        elif name not in volumes:
            causes.append(cause(f"{field}.name", "missing", value=name))
        if not place:
            causes.append(cause(f"{field}.mountPath", "required"))
        elif place in places:
            causes.append(cause(f"{field}.mountPath", "invalid", "must be unique", value=place))
        places.add(place)
        if ".." in one.get("subPath", "").split("/"):
            causes.append(cause(f"{field}.subPath", "invalid", "must not contain '..'", value=one["subPath"]))
    return causes


def _extended(name: str) -> bool:
    return "/" in name and not re.match(r"(requests\.)?kubernetes\.io/|.*\.kubernetes\.io/", name)


def _resources(found: Object, at: str, profile: Profile) -> list[Cause]:
    limits, requests = found.get("limits") or {}, found.get("requests") or {}
    causes: list[Cause] = []
    for word, values in (("limits", limits), ("requests", requests)):
        for name, value in values.items():
            causes += _resource(name, value, f"{at}.{word}")
    for name, value in requests.items():
        limit = limits.get(name)
        if limit is None:
            if _extended(name) or name.startswith("hugepages-"):
                text = "Limit must be set for non overcommitable resources"
                causes.append(cause(f"{at}.limits", "required", text))
        elif amount(value) != amount(limit) and _extended(name):
            text = f"must be equal to {name} limit" + (f" of {limit}" if profile.minor >= 27 else "")
            causes.append(cause(f"{at}.requests", "invalid", text, value=value))
        elif amount(value) > amount(limit):
            text = f"must be less than or equal to {name} limit" + (f" of {limit}" if profile.minor >= 27 else "")
            causes.append(cause(f"{at}.requests", "invalid", text, value=value))
    return causes


def _resource(name: str, value: str, at: str) -> list[Cause]:
    causes = [cause(f"{at}[{name}]", "invalid", text, value=name) for text in label_key_faults(name)]
    if not causes and "/" not in name and name not in _PLAIN and not name.startswith("hugepages-"):
        text = "must be a standard resource type or fully qualified"
        causes.append(cause(f"{at}[{name}]", "invalid", text, value=name))
    if amount(value) < 0:
        causes.append(cause(f"{at}[{name}]", "invalid", "must be greater than or equal to 0", value=value))
    if _extended(name) and amount(value) % 1:
        causes.append(cause(f"{at}[{name}]", "invalid", _COUNTED, value=value))
    return causes


def update_faults(new: Object, old: Object) -> list[Cause]:
    """Changes of a pod's spec that are not allowed: all but images, the deadline and more tolerations."""

    def fixed(one: Object) -> Object:
        spec: Object = {**one["spec"], "activeDeadlineSeconds": None, "tolerations": None}
        for word in ("containers", "initContainers"):
            if word in spec:
                spec[word] = [{**inner, "image": "", "imagePullPolicy": ""} for inner in spec[word]]
        return spec

    fewer = any(one not in (new["spec"].get("tolerations") or []) for one in old["spec"].get("tolerations") or [])
    if fixed(new) != fixed(old) or fewer:
        text = (
            "pod updates may not change fields other than `spec.containers[*].image`, "
            "`spec.initContainers[*].image`, `spec.activeDeadlineSeconds` or `spec.tolerations` "
            "(only additions to existing tolerations)\n"
        )
        return [cause("spec", "forbidden", text)]
    return []
