"""Wheels packed from what is installed: the very files that ran, with no network."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

from physlab_mcp.errors import UnavailableError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_OWN = frozenset(
    {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_build.json", "uv_cache.json", "PROVENANCE"}
)
_PURE = "Wheel-Version: 1.0\nGenerator: physlab\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def normal(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel_of(one: Distribution, folder: Path, *, package: Path | None = None) -> Path:
    """Pack an installed distribution as a wheel into `folder`; `package`: the folder of its code, where it is editable.

    Equal files give the equal wheel. Scripts of entry points are left out: whoever installs it makes them.

    Raises:
        UnavailableError: it is not known which files belong to it, or one is missing.

    """
    about = {path.name: path for path in _metadata_files(one)}
    if "METADATA" not in about:
        raise UnavailableError(
            f"{one.name} {one.version} cannot be packed: its metadata cannot be read.", got=one.name,
            remedy="Install it again as a wheel, or make the package without a wheelhouse.",
        )  # fmt: skip
    head = re.sub(r"[-_.]+", "_", one.name)
    info = f"{head}-{one.version}.dist-info"
    files: dict[str, bytes] = {}
    for path in about.values():
        base = path.parent.name
        files[f"{info}/{'licenses/' if base == 'licenses' else ''}{path.name}"] = path.read_bytes()
    if package is not None:
        files |= {f"{package.name}/{name}": data for name, data in _tree(package)}
        files[f"{info}/WHEEL"] = _PURE.encode()
    else:
        files |= dict(_installed(one, f"{head}-{one.version}.data"))
    tag = _tag(files.get(f"{info}/WHEEL", _PURE.encode()).decode())
    target = folder / f"{head}-{one.version}-{tag}.whl"
    _write(target, files, f"{info}/RECORD")
    return target


def _metadata_files(one: Distribution) -> Iterator[Path]:
    for file in one.files or ():
        parts = file.parts
        place = Path(str(one.locate_file(file)))
        if len(parts) > 1 and parts[0].endswith(".dist-info") and file.name not in _OWN and place.is_file():
            yield place


def _tree(package: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package)
        if path.is_file() and "__pycache__" not in inside.parts and path.suffix not in (".pyc", ".pyo"):
            yield inside.as_posix(), path.read_bytes()


def _installed(one: Distribution, data: str) -> Iterator[tuple[str, bytes]]:
    scripts = {point.name for point in one.entry_points if point.group in ("console_scripts", "gui_scripts")}
    for file in one.files or ():
        if file.suffix in (".pyc", ".pyo") or file.parts[0].endswith(".dist-info"):
            continue
        place = Path(str(one.locate_file(file)))
        outside = [part for part in file.parts if part != ".."]
        if len(outside) < len(file.parts):
            if outside[0] in ("bin", "Scripts"):
                if file.name.removesuffix(".exe") in scripts:
                    continue
                target = f"{data}/scripts/{file.name}"
            else:
                target = f"{data}/data/{'/'.join(outside)}"
        else:
            target = file.as_posix()
        try:
            content = place.read_bytes()
        except OSError as error:
            raise UnavailableError(
                f"{one.name} {one.version} cannot be packed: {file} is missing ({error.strerror}).", got=one.name,
                remedy="Install it again, or make the package without a wheelhouse.",
            ) from error  # fmt: skip
        if "/scripts/" in target and content.startswith(b"#!") and b"python" in content.split(b"\n", 1)[0]:
            content = b"#!python\n" + content.split(b"\n", 1)[-1]
        yield target, content


def _tag(wheel: str) -> str:
    """The file name's tag from the tags in WHEEL: `py3-none-any`, `cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64`."""
    tags = [line.partition(":")[2].strip() for line in wheel.splitlines() if line.startswith("Tag:")]
    columns: list[list[str]] = [[], [], []]
    for tag in tags or ["py3-none-any"]:
        for column, part in zip(columns, tag.split("-", 2), strict=True):
            if part not in column:
                column.append(part)
    return "-".join(".".join(column) for column in columns)


def _write(target: Path, files: dict[str, bytes], record: str) -> None:
    lines: list[str] = []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in sorted(files.items(), key=lambda pair: (".dist-info/" in pair[0], pair[0])):
            _put(archive, name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            quoted = f'"{name}"' if "," in name else name
            lines.append(f"{quoted},sha256={digest},{len(data)}")
        _put(archive, record, "\n".join([*lines, f"{record},,", ""]).encode())


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (0o100755 if "/scripts/" in name else 0o100644) << 16
    archive.writestr(info, data)
