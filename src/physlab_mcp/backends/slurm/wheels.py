"""What an environment on a cluster is made from: the wheel of this very physlab, and the versions that are installed here."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

import msgspec

import physlab_mcp
from physlab_mcp.backends.slurm.interpreter_probe import digits_of
from physlab_mcp.errors import RejectedError

logger = logging.getLogger(__name__)
NAME = "physlab-mcp"
EXTRAS = ("science", "video", "library")  # what node calls need; each where it is installed here as a whole
NODES = "physlab.nodes"  # the entry points of further node types
_EPOCH = (1980, 1, 1, 0, 0, 0)
_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([^\]]*)\])?([^;]*)(?:;(.*))?$")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_WHEEL = re.compile(r"^([A-Za-z0-9._]+)-([^-]+)(?:-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl\Z")


class Wheel(msgspec.Struct, frozen=True):
    """A wheel in memory."""

    name: str
    data: bytes
    sources: str  # digits of its Python files, as interpreters.own_sources tells them

    @property
    def sha256(self) -> str:
        """Of its bytes."""
        return hashlib.sha256(self.data).hexdigest()


def normal(name: str) -> str:
    """A distribution's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def own_wheel() -> Wheel:
    """This physlab as it lies here, installed or a checkout, packed as a wheel: equal files give equal bytes.

    Raises:
        RejectedError: it was not installed, so that its requirements are not known.

    """
    try:
        installed = distribution(NAME)
    except PackageNotFoundError:
        raise RejectedError(
            "physlab-mcp is not installed here, so no environment can be made on the cluster.",
            field="backends.slurm.bootstrap", got="uv", remedy="Install it (pip install physlab-mcp), or set `python`.",
        ) from None  # fmt: skip
    stem = f"physlab_mcp-{installed.version}"
    about = f"{stem}.dist-info"
    package = Path(physlab_mcp.__file__).parent
    files = {f"physlab_mcp/{path.relative_to(package).as_posix()}": path.read_bytes() for path in _sources(package)}
    files[f"{about}/METADATA"] = (installed.read_text("METADATA") or "").encode()
    files[f"{about}/entry_points.txt"] = (installed.read_text("entry_points.txt") or "").encode()
    files[f"{about}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: physlab-mcp {installed.version}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ).encode()
    files[f"{about}/RECORD"] = _record(files, f"{about}/RECORD")
    return Wheel(f"{stem}-py3-none-any.whl", _zipped(files), _digits(files))


def _sources(package: Path) -> Iterator[Path]:
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def _digits(files: dict[str, bytes]) -> str:
    mine = {name.removeprefix("physlab_mcp/"): data for name, data in files.items() if name.startswith("physlab_mcp/")}
    return digits_of((name, data) for name, data in mine.items() if name.endswith(".py"))


def _record(files: dict[str, bytes], own: str) -> bytes:
    lines: list[str] = []
    for name, data in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    return "".join([*lines, f"{own},,\n"]).encode()


def _zipped(files: dict[str, bytes]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return body.getvalue()


def lock_text(named: str, packages: Sequence[str]) -> str:
    """The requirements of an environment: the file that is named, else what is installed here, version by version.

    Raises:
        RejectedError: the file cannot be read, or a package is not installed here from an index.

    """
    if not named:
        return installed_lock(packages)
    try:
        return Path(named).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RejectedError(
            f"The lock {named!r} cannot be read: {getattr(error, 'strerror', None) or error}.",
            field="backends.slurm.lock", got=named,
            remedy="Write it with `uv export --format requirements-txt --no-emit-project`, or leave it out.",
        ) from None  # fmt: skip


def installed_lock(packages: Sequence[str] = (), *, own_extras: Sequence[str] = EXTRAS) -> str:
    """`name==version` of everything that physlab, its node types and `packages` need and that is installed here.

    Raises:
        RejectedError: one of `packages` is not installed here, or not from an index.

    """
    found: dict[str, str] = {}
    waiting: list[tuple[str, frozenset[str]]] = [(NAME, frozenset(_whole_extras(own_extras)))]
    waiting += [(name, frozenset()) for name in _brings_nodes()]
    for one in packages:
        name, extras, _, _ = _parts(one)
        if _installed(name) is None or _elsewhere(name):
            raise RejectedError(
                f"{one!r} is not installed here from a package index, so there is no version to ask for on the cluster.",
                field="backends.slurm.packages", got=one,
                remedy="Install it here, or name a requirements file as `lock`, and its wheel in `local_wheelhouse`.",
            )  # fmt: skip
        waiting.append((name, extras))
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        one = _installed(name)
        if one is None or (normal(name), extras) in seen:
            continue
        seen.add((normal(name), extras))
        if normal(name) != NAME:
            found[normal(name)] = one.version
        waiting += _needed(one, extras)
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()))


def _parts(requirement: str) -> tuple[str, frozenset[str], str, str]:
    """Name, extras, version and marker of a requirement."""
    found = _REQUIREMENT.match(requirement)
    if found is None:
        return requirement, frozenset(), "", ""
    name, extras, version, marker = found.groups()
    return name, frozenset(one.strip() for one in (extras or "").split(",") if one.strip()), version, marker or ""


def _needed(one: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """What it requires. Other markers than extras are not read: what they leave out is mostly not installed."""
    for requirement in one.requires or ():
        name, wanted, _, marker = _parts(requirement)
        only_for = _EXTRA.search(marker)
        if only_for is None or normal(only_for.group(1)) in {normal(extra) for extra in extras}:
            yield name, wanted


def _whole_extras(extras: Sequence[str]) -> Iterator[str]:
    """Those of our extras of which every package is installed here."""
    own = distribution(NAME)
    for extra in extras:
        wanted = [name for name, _ in _needed(own, frozenset({extra})) if name not in dict(_needed(own, frozenset()))]
        if wanted and all(_installed(name) is not None for name in wanted):
            yield extra


def _brings_nodes() -> Iterator[str]:
    """Distributions that add node types here."""
    for one in distributions():
        name = normal(one.metadata["Name"] or "")
        if name in ("", NAME) or not any(point.group == NODES for point in one.entry_points):
            continue
        if _elsewhere(name):
            logger.warning(
                "%s adds node types and is not from a package index: its wheel must lie in a wheelhouse", name
            )
        else:
            yield name


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _elsewhere(name: str) -> bool:
    """Whether it was installed from a folder, file or repository, so that no index has it."""
    one = _installed(name)
    return one is not None and "url" in json.loads(one.read_text("direct_url.json") or "{}")


def house(folder: str, lock: str) -> list[Path]:
    """The wheels of a folder of this machine, without other versions of what the lock names.

    Raises:
        RejectedError: it is no folder, or no wheel lies in it.

    """
    place = Path(folder).expanduser()
    pinned = dict(_pins(lock.splitlines()))
    found: list[Path] = []
    for path in sorted(place.glob("*.whl")) if place.is_dir() else ():
        wheel = _WHEEL.match(path.name)
        if wheel is not None and pinned.get(normal(wheel.group(1)), wheel.group(2)) == wheel.group(2):
            found.append(path)
    if not found:
        raise RejectedError(
            f"There is no wheel in {folder!r}.", field="backends.slurm.local_wheelhouse", got=folder,
            remedy="Fill it: pip download --dest FOLDER --only-binary :all: -r LOCK (for the cluster's Python).",
        )  # fmt: skip
    return found


def _pins(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, version, _ = _parts(line.partition(" --hash")[0].rstrip(" \\"))
        if version.strip().startswith("=="):
            yield normal(name), version.strip().removeprefix("==").strip()
