"""Volumes of a pod as folders and files of this machine."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.kubernetes_api.controllers.claims import ClaimController
from tests.fakes.kubernetes_api.kinds import CLAIMS, CONFIGMAPS, SECRETS
from tests.fakes.kubernetes_api.kubelet.environment import MissingError, field_value
from tests.fakes.kubernetes_api.registry import Registry
from tests.fakes.kubernetes_api.store import Object

_FOLDERS = ("Directory", "DirectoryOrCreate")


class MountError(Exception):
    """A volume that cannot be set up yet."""

    def __init__(self, volume: str, why: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {why}')


@dataclass(frozen=True)
class Mounted:
    """One mount of a container: a place of this machine at a path inside."""

    source: Path
    target: str
    readonly: bool


class Volumes:
    """The volumes of one pod, below `root`."""

    def __init__(self, registry: Registry, claims: ClaimController, pod: Object, root: Path) -> None:
        self._registry, self._claims, self._pod, self._root = registry, claims, pod, root
        self._places: dict[str, tuple[Path, bool]] = {}

    def set_up(self) -> None:
        """Make all volumes.

        Raises MountError: something that a volume needs is not there (yet).
        """
        for volume in self._pod["spec"].get("volumes") or []:
            name = volume["name"]
            if name not in self._places:
                self._places[name] = self._one(name, volume)

    def _one(self, name: str, volume: Mapping[str, Any]) -> tuple[Path, bool]:
        if "hostPath" in volume:
            return self._host(name, volume["hostPath"]), False
        if claim := volume.get("persistentVolumeClaim"):
            return self._claim(name, claim["claimName"]), bool(claim.get("readOnly"))
        place = self._root / name
        place.mkdir(parents=True, exist_ok=True)
        if "emptyDir" in volume:
            place.chmod(0o777)
            return place, False
        try:
            self._fill(place, volume)
        except MissingError as fault:
            raise MountError(name, str(fault)) from None
        return place, True

    def _fill(self, place: Path, volume: Mapping[str, Any]) -> None:
        if source := volume.get("configMap"):
            self._write(place, self._data(CONFIGMAPS, source["name"], source), source, source.get("defaultMode", 0o644))
        elif source := volume.get("secret"):
            self._write(
                place, self._data(SECRETS, source["secretName"], source), source, source.get("defaultMode", 0o644)
            )
        elif source := volume.get("downwardAPI"):
            self._downward(place, source)
        elif source := volume.get("projected"):
            mode = source.get("defaultMode", 0o644)
            for part in source.get("sources") or []:
                for kind, resource in (("configMap", CONFIGMAPS), ("secret", SECRETS)):
                    if inner := part.get(kind):
                        self._write(place, self._data(resource, inner["name"], inner), inner, mode)
                if inner := part.get("downwardAPI"):
                    self._downward(place, inner)
                if inner := part.get("serviceAccountToken"):
                    (place / inner["path"]).write_text("a token of the fake cluster")

    def _downward(self, place: Path, source: Mapping[str, Any]) -> None:
        for item in source.get("items") or []:
            target = place / item["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(field_value(self._pod, (item.get("fieldRef") or {}).get("fieldPath", "metadata.name")))

    def _data(self, resource: Any, name: str, source: Mapping[str, Any]) -> dict[str, bytes]:
        found = self._registry.store.get(resource, self._pod["metadata"]["namespace"], name)
        if found is None:
            if source.get("optional"):
                return {}
            raise MissingError(f'{resource.kind.lower()} "{name}" not found')
        plain = {key: value.encode() for key, value in (found.get("data") or {}).items()}
        if resource is SECRETS:
            return {key: base64.b64decode(value) for key, value in plain.items()}
        return plain | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}

    @staticmethod
    def _write(place: Path, data: Mapping[str, bytes], source: Mapping[str, Any], mode: int) -> None:
        items: list[dict[str, Any]] = source.get("items") or [{"key": key, "path": key} for key in data]
        for item in items:
            if item["key"] not in data:
                if source.get("optional"):
                    continue
                name = source.get("name") or source.get("secretName")
                raise MissingError(f"references non-existent config key: {item['key']} of {name}")
            target = place / item["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data[item["key"]])
            target.chmod(item.get("mode", mode))

    def _host(self, name: str, source: Mapping[str, Any]) -> Path:
        path, sort = Path(source["path"]), source.get("type") or ""
        if sort in ("DirectoryOrCreate", ""):
            if not path.exists():
                path.mkdir(parents=True)
        elif sort == "FileOrCreate":
            path.touch()
        if sort in _FOLDERS and not path.is_dir():
            raise MountError(name, f"hostPath type check failed: {path} is not a directory")
        if sort in ("File", "FileOrCreate") and not path.is_file():
            raise MountError(name, f"hostPath type check failed: {path} is not a file")
        return path

    def _claim(self, name: str, claim: str) -> Path:
        found = self._registry.store.get(CLAIMS, self._pod["metadata"]["namespace"], claim)
        if found is None or found["status"].get("phase") != "Bound":
            raise MountError(name, f'persistentvolumeclaim "{claim}" is not bound')
        return self._claims.folder(found)

    def mounts(self, container: Object) -> list[Mounted]:
        """The mounts of one container, outer paths first."""
        found = []
        for mount in container.get("volumeMounts") or []:
            place, readonly = self._places[mount["name"]]
            if part := mount.get("subPath"):
                place = place / part
                if not place.exists() and not readonly:
                    place.mkdir(parents=True)
            found.append(Mounted(place, mount["mountPath"], readonly or bool(mount.get("readOnly"))))
        return sorted(found, key=lambda one: one.target.count("/"))
