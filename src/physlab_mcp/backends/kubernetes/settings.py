"""The section `backends.kubernetes` of the configuration: what may be set, what it means, what is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import msgspec

from physlab_mcp.errors import RequestError

SECTION = "backends.kubernetes"
PRIVATE_ROOT = "/physlab"  # where our own volumes are mounted
_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_SUBDOMAIN = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"
_QUANTITY = r"^([1-9][0-9]*(\.[0-9]+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?)?$"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_QUALIFIED = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
_SECRET_NAME = re.compile(
    r"PASS(WORD|WD|PHRASE)|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIAL", re.IGNORECASE
)
_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/tmp", "/usr", "/bin", "/lib", PRIVATE_ROOT)  # noqa: S108 - ours, in a pod

Meta = msgspec.Meta
Label = Annotated[str, Meta(pattern=_LABEL)]
Subdomain = Annotated[str, Meta(pattern=_SUBDOMAIN, max_length=253)]
Quantity = Annotated[str, Meta(pattern=_QUANTITY)]


class Toleration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A taint of nodes that pods of jobs put up with."""

    key: Annotated[str, Meta(description='the taint; "" with Exists: every taint')] = ""
    operator: Annotated[Literal["Equal", "Exists"], Meta(description="how the value is compared")] = "Equal"
    value: Annotated[str, Meta(description="the taint's value, for Equal")] = ""
    effect: Annotated[
        Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"], Meta(description='"": every effect')
    ] = ""
    seconds: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="with NoExecute: how long it is put up with; null: for ever"),
    ] = None


class Volume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Storage of the cluster that every pod sees. Exactly one of pvc, host_path, config_map, secret names it."""

    name: Annotated[Label, Meta(description="its name here; a job mounts a folder of it as `volume:<name>/<folder>`")]
    target: Annotated[str, Meta(description="absolute path in the pod")]
    readonly: Annotated[bool, Meta(description="jobs may not write there")] = True
    pvc: Annotated[Subdomain, Meta(description="a PersistentVolumeClaim of the namespace")] = ""
    host_path: Annotated[str, Meta(description="a folder of the node; the cluster's policy may forbid it")] = ""
    config_map: Annotated[Subdomain, Meta(description="a ConfigMap of the namespace, its keys as files")] = ""
    secret: Annotated[Subdomain, Meta(description="a Secret of the namespace, its keys as files")] = ""
    items: Annotated[dict[str, str], Meta(description="of a ConfigMap or Secret: key to file name; {}: all keys")] = {}


class SecretKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value of a Secret of the namespace."""

    secret: Annotated[Subdomain, Meta(description="the Secret")]
    key: Annotated[str, Meta(min_length=1, pattern=r"^[-._a-zA-Z0-9]+$", description="its key")]
    optional: Annotated[bool, Meta(description="start even if it is not there")] = False


class SecretSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret of this machine, named but never written down. Exactly one of both."""

    env: Annotated[str, Meta(description="name of an environment variable")] = ""
    file: Annotated[str, Meta(description="path of a file; its first line is the secret")] = ""


class ObjectStore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An S3-compatible store. Pods get signed addresses that expire, never the keys."""

    endpoint: Annotated[str, Meta(pattern=r"^https?://[^\s/?#@]+/?$", description="address, as this machine sees it")]
    bucket: Annotated[str, Meta(pattern=r"^[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]$", description="bucket; it must exist")]
    access_key: Annotated[SecretSource, Meta(description="where the key's id is found")]
    secret_key: Annotated[SecretSource, Meta(description="where the key is found")]
    endpoint_in_pods: Annotated[
        str, Meta(pattern=r"^(https?://[^\s/?#@]+/?)?$", description='address, as pods see it; "": the same')
    ] = ""
    prefix: Annotated[str, Meta(pattern=r"^[-._/a-zA-Z0-9]*$", description="before the name of each object")] = (
        "physlab/"
    )
    region: Annotated[str, Meta(min_length=1, description="region that requests are signed for")] = "us-east-1"
    address_lifetime_s: Annotated[
        int, Meta(ge=300, le=604_800, description="how long a signed address is good: queue, run and upload")
    ] = 604_800


class Security(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As whom and how containers run. They never get privileges, capabilities or an unconfined system call filter."""

    run_as_user: Annotated[int, Meta(ge=1, le=2**31 - 1, description="user id; never root")] = 1000
    run_as_group: Annotated[int, Meta(ge=1, le=2**31 - 1, description="group id")] = 1000
    fs_group: Annotated[int, Meta(ge=1, le=2**31 - 1, description="group that owns mounted volumes")] = 1000
    read_only_root: Annotated[bool, Meta(description="only the work folder, /tmp and volumes can be written")] = True


class KubernetesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings. `read_settings` makes them from the configuration's section."""

    kubeconfig: Annotated[str, Meta(description='path of the file; "": $KUBECONFIG, then ~/.kube/config')] = ""
    context: Annotated[str, Meta(description='context of the kubeconfig; "": its current one')] = ""
    in_cluster: Annotated[bool, Meta(description="this program runs in a pod: use its service account")] = False
    namespace: Annotated[Label, Meta(description="where everything is created")] = "default"
    image: Annotated[str, Meta(description="container image of jobs that name none; it needs Python 3.8 or newer")] = ""
    image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"], Meta(description="when nodes pull the image")
    ] = "IfNotPresent"
    image_pull_secrets: Annotated[tuple[Subdomain, ...], Meta(description="Secrets for the registry")] = ()
    python: Annotated[str, Meta(min_length=1, description="the image's Python: a name or an absolute path")] = "python3"
    service_account: Annotated[
        Subdomain, Meta(description="""service account of pods; "": the namespace's default""")
    ] = ""
    service_account_token: Annotated[bool, Meta(description="give pods its token; jobs rarely need the API")] = False
    node_selector: Annotated[dict[str, str], Meta(description="labels that a node must have")] = {}
    tolerations: Annotated[tuple[Toleration, ...], Meta(description="taints of nodes to put up with")] = ()
    priority_class: Annotated[Subdomain, Meta(description="PriorityClass of pods")] = ""
    runtime_class: Annotated[Subdomain, Meta(description="RuntimeClass of pods, such as gvisor")] = ""
    gpu_resource: Annotated[str, Meta(description="extended resource that counts as a GPU")] = "nvidia.com/gpu"
    gpu_node_selector: Annotated[dict[str, str], Meta(description="further labels of a node for jobs with GPUs")] = {}
    default_memory: Annotated[Quantity, Meta(description='for jobs that ask for none; "": no limit is set')] = "1Gi"
    ephemeral_storage: Annotated[Quantity, Meta(description='disk of the node for a pod; "": no limit is set')] = ""
    work_size: Annotated[Quantity, Meta(description='size limit of the work folder; "": none')] = ""
    volumes: Annotated[tuple[Volume, ...], Meta(description="storage that every pod sees")] = ()
    env: Annotated[dict[str, str], Meta(description="variables of every job; nothing secret")] = {}
    env_from_secrets: Annotated[dict[str, SecretKey], Meta(description="variables whose values are in Secrets")] = {}
    security: Annotated[Security, Meta(description="as whom and how containers run")] = Security()
    ttl_s: Annotated[
        int, Meta(ge=60, le=31_536_000, description="a finished Job that was not fetched goes after this")
    ] = 86_400
    backoff_limit: Annotated[
        int,
        Meta(
            ge=0, le=10, description="pods that Kubernetes itself repeats, for repeatable jobs only; our engine retries"
        ),
    ] = 0
    grace_s: Annotated[int, Meta(ge=1, le=3600, description="between SIGTERM and SIGKILL when a pod is ended")] = 30
    deadline_margin_s: Annotated[
        int,
        Meta(ge=60, le=86_400, description="a pod may exist this much longer than its job may run: images, results"),
    ] = 900
    start_patience_s: Annotated[
        float, Meta(ge=0, le=86_400, description="how long a pod may fail to pull its image or find its Secret")
    ] = 300.0
    silence_s: Annotated[
        float, Meta(ge=1, le=86_400, description="a pod that should be gone for so long is on a lost node")
    ] = 60.0
    array_size: Annotated[int, Meta(ge=1, le=100_000, description="elements of one Indexed Job")] = 1000
    array_at_once: Annotated[int, Meta(ge=0, le=100_000, description="of these at once; 0: all")] = 0
    kueue_queue: Annotated[Subdomain, Meta(description="LocalQueue of Kueue that admits the jobs")] = ""
    results: Annotated[
        Literal["auto", "volume", "object_store", "log"],
        Meta(description="how files come home; auto: volume, else object store, else log, as far as set"),
    ] = "auto"
    results_volume: Annotated[str, Meta(description="name of the writable volume for `results: volume`")] = ""
    results_path: Annotated[
        str, Meta(description="where this machine sees that volume (absolute), since results are read there")
    ] = ""
    log_archive_mb: Annotated[int, Meta(ge=1, le=64, description="most that may come home through the log, in MB")] = 8
    inline_mb: Annotated[
        int, Meta(ge=1, le=64, description="most that a submission may bring in ConfigMaps, in MB")
    ] = 8
    object_store: Annotated[ObjectStore | None, Meta(description="S3-compatible store")] = None
    poll_s: Annotated[float, Meta(ge=1, le=600, description="between lists where no watch can be had")] = 10.0
    watch_s: Annotated[
        int, Meta(ge=5, le=3600, description="the server ends each watch after this; it goes on anew")
    ] = 300
    request_timeout_s: Annotated[float, Meta(ge=1, le=600, description="for each request")] = 30.0
    requests_at_once: Annotated[int, Meta(ge=1, le=64, description="requests under way at once")] = 8
    logs_at_once: Annotated[int, Meta(ge=1, le=5000, description="logs of pods followed at once")] = 500
    max_jobs: Annotated[int, Meta(ge=1, le=100_000, description="jobs on the cluster at once, waiting ones too")] = 5000

    def volume(self, name: str) -> Volume | None:
        """The volume of that name."""
        return next((volume for volume in self.volumes if volume.name == name), None)

    def way_home(self) -> Literal["volume", "object_store", "log"]:
        """How files come home, `auto` decided."""
        if self.results != "auto":
            return self.results
        if self.results_volume:
            return "volume"
        return "object_store" if self.object_store is not None else "log"


def read_settings(section: Mapping[str, Any]) -> KubernetesSettings:
    """The settings written in a section.

    Raises:
        RequestError: a value does not fit; `field` names it.

    """
    try:
        settings = msgspec.convert(dict(section), KubernetesSettings)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), section) from None
    _check_connection(settings)
    _check_pods(settings)
    _check_volumes(settings)
    _check_results(settings)
    return settings


def refuse(field: str, got: Any, why: str, remedy: str) -> RequestError:
    """The error of one setting."""
    return RequestError(f"{SECTION}.{field} = {got!r}: {why}.", field=f"{SECTION}.{field}", got=got, remedy=remedy)


def _misfit(said: str, section: Mapping[str, Any]) -> RequestError:
    message, _, place = said.partition(" - at `")
    path = place.rstrip("`").removeprefix("$").removeprefix(".").replace("[...]", "[]")
    unknown = re.match(r"Object contains unknown field `(.*)`", message)
    if unknown is not None:
        name = unknown.group(1)
        field = f"{path}.{name}".lstrip(".")
        known = KubernetesSettings.__struct_fields__ if not path else ()
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        remedy = f"Did you mean {near[0]!r}?" if near else "See the table of settings in docs/kubernetes.md."
        return RequestError(
            f"The key '{SECTION}.{field}' is not known.", field=f"{SECTION}.{field}", remedy=remedy
        )  # fmt: skip
    field = f"{SECTION}.{path}".rstrip(".")
    shown = None if path.startswith(("env", "object_store")) else section.get(path)  # may be a secret
    remedy = "See the table of settings in docs/kubernetes.md."
    return RequestError(f"{field}: {message}.", field=field, got=shown, remedy=remedy)


def _check_connection(settings: KubernetesSettings) -> None:
    if settings.in_cluster and (settings.kubeconfig or settings.context):
        field = "kubeconfig" if settings.kubeconfig else "context"
        raise refuse(field, getattr(settings, field), "in_cluster uses no kubeconfig", "Leave one of them out.")


def check_image(image: str, *, field: str) -> None:
    """Refuse what cannot be a container image's name.

    Raises:
        RequestError: it is empty, or holds spaces or control characters.

    """
    if not re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9_.:/@]{0,510}", image):
        raise RequestError(
            f"{field} = {image!r} is not the name of a container image.",
            field=field, got=image, remedy="Write it like registry.example.org/physlab:1.2.",
        )  # fmt: skip


def _check_pods(settings: KubernetesSettings) -> None:
    if settings.image:
        check_image(settings.image, field=f"{SECTION}.image")
    if "\0" in settings.python or any(char.isspace() for char in settings.python):
        raise refuse("python", settings.python, "it is not one word", "Name the interpreter alone.")
    if not _QUALIFIED.match(settings.gpu_resource) or "/" not in settings.gpu_resource:
        raise refuse("gpu_resource", settings.gpu_resource, "it is not like vendor/resource", "Write nvidia.com/gpu.")
    for field in ("node_selector", "gpu_node_selector"):
        for key, value in getattr(settings, field).items():
            if not _QUALIFIED.match(key) or not _LABEL_VALUE.match(value):
                raise refuse(
                    f"{field}.{key}", value, "it is not a label of a node", "See `kubectl get nodes --show-labels`."
                )
    for position, toleration in enumerate(settings.tolerations):
        field = f"tolerations[{position}]"
        if toleration.operator == "Exists" and toleration.value:
            raise refuse(f"{field}.value", toleration.value, "Exists compares no value", "Leave it out, or use Equal.")
        if toleration.operator == "Equal" and not toleration.key:
            raise refuse(f"{field}.key", "", "Equal needs a key", "Name the taint.")
        if (toleration.key and not _QUALIFIED.match(toleration.key)) or not _LABEL_VALUE.match(toleration.value):
            raise refuse(f"{field}.key", toleration.key, "it is not a taint", "See `kubectl describe node`.")
        if toleration.seconds is not None and toleration.effect != "NoExecute":
            raise refuse(
                f"{field}.seconds", toleration.seconds, "it needs effect NoExecute", "Set it, or leave it out."
            )
    _check_variables(settings)


def _check_variables(settings: KubernetesSettings) -> None:
    for field in ("env", "env_from_secrets"):
        for name in getattr(settings, field):
            if not _VARIABLE.match(name) or name.startswith("PHYSLAB_"):
                raise refuse(
                    f"{field}.{name}", name, "it cannot be set as a variable",
                    "Use letters, digits and _, and do not begin with PHYSLAB_.",
                )  # fmt: skip
    for name in settings.env:
        if name in settings.env_from_secrets:
            raise refuse(f"env.{name}", name, "it stands in env_from_secrets too", "Keep one of them.")
        if _SECRET_NAME.search(name):
            raise RequestError(
                f"{SECTION}.env.{name} looks like a secret, which never stands in a configuration or a pod's definition.",
                field=f"{SECTION}.env.{name}", remedy=f"Put it into a Secret of the cluster and name that in {SECTION}.env_from_secrets.",
            )  # fmt: skip
        if "\0" in settings.env[name]:
            raise refuse(f"env.{name}", settings.env[name], "it holds a NUL character", "Remove it.")


def _check_volumes(settings: KubernetesSettings) -> None:
    names: set[str] = set()
    targets: set[str] = set()
    for position, volume in enumerate(settings.volumes):
        field = f"volumes[{position}]"
        sources = [word for word in ("pvc", "host_path", "config_map", "secret") if getattr(volume, word)]
        if len(sources) != 1:
            raise refuse(
                field, sources, "expected exactly one of pvc, host_path, config_map, secret", "Name one source."
            )
        if volume.name in names or volume.name.startswith("physlab-"):
            raise refuse(
                f"{field}.name", volume.name, "it is taken", "Choose another name, not beginning with physlab-."
            )
        check_target(volume.target, field=f"{SECTION}.{field}.target")
        if volume.target in targets:
            raise refuse(f"{field}.target", volume.target, "another volume is mounted there", "Choose another folder.")
        if volume.host_path and (not volume.host_path.startswith("/") or ".." in PurePosixPath(volume.host_path).parts):
            raise refuse(
                f"{field}.host_path", volume.host_path, "it is not an absolute path without '..'", "Write it out."
            )
        if volume.items and sources[0] not in ("config_map", "secret"):
            raise refuse(f"{field}.items", volume.items, "only ConfigMaps and Secrets have keys", "Leave it out.")
        for key, path in volume.items.items():
            inside = PurePosixPath(path)
            if not re.fullmatch(r"[-._a-zA-Z0-9]+", key) or inside.is_absolute() or ".." in inside.parts or not path:
                raise refuse(
                    f"{field}.items.{key}", path, "it is not a key and a relative path", 'Write {"key": "file"}.'
                )
        if sources[0] in ("config_map", "secret") and not volume.readonly:
            raise refuse(f"{field}.readonly", False, "ConfigMaps and Secrets cannot be written", "Leave it out.")
        names.add(volume.name)
        targets.add(volume.target)


def check_target(target: str, *, field: str) -> None:
    """Refuse a place in the pod where nothing may be mounted.

    Raises:
        RequestError: it is not absolute, holds '..' or ':', or would cover the system or our own folders.

    """
    place = PurePosixPath(target)
    plain = (
        target.startswith("/") and str(place) == target and ".." not in place.parts and not set(target) & set(":$\0")
    )
    if (
        not plain
        or target == "/"
        or any(place == PurePosixPath(own) or target.startswith(own + "/") for own in _SYSTEM)
    ):
        raise RequestError(
            f"{field} = {target!r}: nothing can be mounted there.",
            field=field, got=target, remedy="Give an absolute path such as /data, outside of the system's folders.",
        )  # fmt: skip


def _check_results(settings: KubernetesSettings) -> None:
    name, volume = settings.results_volume, settings.volume(settings.results_volume)
    if name and (volume is None or volume.readonly):
        known = ", ".join(v.name for v in settings.volumes if not v.readonly) or "none"
        raise refuse("results_volume", name, f"it is no writable volume; writable are: {known}", "Add it to volumes.")
    if name and settings.way_home() == "volume" and not PurePosixPath(settings.results_path).is_absolute():
        raise refuse(
            "results_path", settings.results_path, "results on a volume are read there, and it is no absolute path",
            "Name the folder of this machine on which the volume lies, or set results to log or object_store.",
        )  # fmt: skip
    if settings.results == "volume" and not name:
        raise refuse("results", "volume", "no results_volume is set", f"Set {SECTION}.results_volume.")
    if settings.results == "object_store" and settings.object_store is None:
        raise refuse("results", "object_store", "no object_store is set", f"Set {SECTION}.object_store.")
    store = settings.object_store
    if store is None:
        return
    for field in ("access_key", "secret_key"):
        source: SecretSource = getattr(store, field)
        if bool(source.env) == bool(source.file):
            raise refuse(
                f"object_store.{field}", None, "expected exactly one of env and file", 'Write {"env": "NAME"}.'
            )  # fmt: skip
