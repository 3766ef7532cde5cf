"""Run this package again in a fresh environment and compare: `python reproduce.py [--work DIR] [--here]`.

It needs Python 3.11 and uv or pip, nothing else: every file is checked against the manifest, the pinned packages are
installed into a new environment, the experiment runs in it, and every value and artifact is compared.
Running a package runs its code: do it only with a package whose maker you trust.
Exit codes: 0 exact or within tolerance, 1 failed, 3 the environment differs, 2 it could not be tried.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

EXIT = {"exact": 0, "within_tolerance": 0, "failed": 1, "environment_differs": 3}
_UNSIGNED = {"manifest.json", "signature.json"}


class CannotTryError(Exception):
    """Why the package could not be run."""


def read(package: Path, name: str) -> Any:
    """A JSON file of the package."""
    try:
        return json.loads((package / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotTryError(f"{name} cannot be read: {error}") from error


def check(package: Path) -> int:
    """Compare every file with the manifest; how many there are."""
    manifest = read(package, "manifest.json")
    listed = {one["path"]: one for one in manifest["files"]}
    here = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file() or path.is_symlink()}
    wrong = [f"missing: {name}" for name in sorted(set(listed) - here)]
    wrong += [f"not in the manifest: {name}" for name in sorted(here - set(listed) - _UNSIGNED)]
    for name in sorted(set(listed) & here):
        path = package / name
        if path.is_symlink() or not path.resolve().is_relative_to(package.resolve()):
            wrong.append(f"a link: {name}")
            continue
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != listed[name]["sha256"]:
                wrong.append(f"changed: {name}")
    if manifest["count"] != len(manifest["files"]):
        wrong.append("the manifest was cut")
    if wrong:
        raise CannotTryError("the package is not as it was made:\n  " + "\n  ".join(wrong[:20]))
    return len(listed)


def call(words: list[str], what: str, environment: dict[str, str], folder: Path) -> None:
    """Run a program and wait for it."""
    done = subprocess.run(words, env=environment, cwd=folder, check=False, stdout=sys.stderr)
    if done.returncode:
        raise CannotTryError(f"{what} failed with exit code {done.returncode}: {' '.join(words)}")


def clean_environment() -> dict[str, str]:
    """The variables of this process without those that would change what runs."""
    dropped = ("PHYSLAB_", "VIRTUAL_ENV", "CONDA_", "UV_PROJECT", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP")
    return {**{k: v for k, v in os.environ.items() if not k.startswith(dropped)}, "PYTHONNOUSERSITE": "1"}


def make_environment(package: Path, work: Path, uv: str | None) -> Path:
    """A new environment with what the lock names; its interpreter."""
    place, variables = work / "environment", clean_environment()
    version = (package / "environment" / "python-version.txt").read_text(encoding="utf-8").strip()
    wheelhouse = package / "wheelhouse"
    offline = (wheelhouse / "requirements.txt").is_file()
    requirements = (wheelhouse if offline else package / "environment") / "requirements.txt"
    own = next(iter(sorted((package / "code").glob("physlab_mcp-*.whl"))), None)
    if own is None:
        raise CannotTryError("there is no wheel of physlab in code/")
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    where = ["--no-index", "--find-links", str(wheelhouse)] if offline else []
    if uv is not None:
        wanted = _python_for(uv, version, variables, work)
        call([uv, "venv", "--no-project", "--python", wanted, str(place)], "making the environment", variables, work)
        install = [uv, "pip", "install", "--python", str(python), "--no-deps", *(["--offline"] if offline else [])]
    else:
        call([sys.executable, "-m", "venv", str(place)], "making the environment", variables, work)
        install = [str(python), "-m", "pip", "install", "--no-deps", "--disable-pip-version-check"]
        requirements = _for_pip(requirements, work)
    call([*install, *where, "-r", str(requirements)], "installing the pinned packages", variables, work)
    call([*install, *where, str(own)], "installing physlab", variables, work)
    return python


def _python_for(uv: str, version: str, variables: dict[str, str], work: Path) -> str:
    """The very Python of the lock where uv has it or can get it, else this one; the verdict tells the difference."""
    find = [uv, "python", "find", "--no-project", version]
    if not subprocess.run(find, env=variables, cwd=work, check=False, capture_output=True).returncode:
        return version
    get = [uv, "python", "install", version]
    if not subprocess.run(get, env=variables, cwd=work, check=False, capture_output=True).returncode:
        return version
    sys.stderr.write(f"Python {version} cannot be had here; {sys.version.split()[0]} is used.\n")
    return sys.executable


def _for_pip(requirements: Path, work: Path) -> Path:
    """pip wants hashes of all or of none."""
    text = requirements.read_text(encoding="utf-8")
    entries = [part for part in re.split(r"\n(?=\S)", text) if part and not part.startswith("#")]
    if all("--hash=" in part for part in entries):
        return requirements
    plain = work / "requirements.txt"
    plain.write_text(re.sub(r" \\\n\s+--hash=\S+", "", text), encoding="utf-8")
    return plain


def run(package: Path, work: Path, python: str) -> dict[str, Any]:
    """Run the experiment with this interpreter; the report."""
    info, variables = read(package, "package.json"), clean_environment()
    if info.get("modules"):
        variables |= {"PYTHONPATH": str(package / "code" / "modules"), "PHYSLAB_NODES": ",".join(info["modules"])}
    elif (package / "code" / "modules").is_dir():
        variables["PYTHONPATH"] = str(package / "code" / "modules")
    words = [python, "-m", "physlab_mcp.cli.rerun", str(package), str(work)]
    call(words, "running the experiment", variables, work)
    return read(work, "report.json")


def reproduce(package: Path, work: Path, *, here: bool, uv: str | None) -> dict[str, Any]:
    """Everything after the check of the files."""
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()):
        raise CannotTryError(f"{work} is not empty")
    python = sys.executable if here else str(make_environment(package, work, uv))
    return run(package, work, python)


def told(report: dict[str, Any]) -> str:
    """The report in a few lines."""
    counts = ", ".join(f"{number} {name}" for name, number in report["counts"].items() if number)
    lines = [f"{report['verdict']}: {report['message'] or counts or 'nothing was compared'}"]
    if report["verdict"] == "environment_differs":
        lines.append(f"The results themselves: {report['values']}.")
    lines += [f"  {one['what']} {one['name']}: {one['locked']} -> {one['here']}" for one in report["environment"][:20]]
    for one in report["differences"][:20]:
        where = f"{one['point']} " if one.get("point") else ""
        lines.append(
            f"  {where}{one['name']}: {one.get('expected')} -> {one.get('got')} {one.get('note', '')}".rstrip()
        )
    lines += [f"  {one}" for one in report["notes"][:20]] if report["message"] else []
    return "\n".join([*lines, f"Everything is in {report['work']}."])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, help="a new folder for environment, data and report (a temporary one)")
    parser.add_argument("--here", action="store_true", help="in the environment of this Python instead of a new one")
    parser.add_argument("--pip", action="store_true", help="with pip although there is uv")
    args = parser.parse_args()
    package = Path(__file__).resolve().parent
    work = args.work.absolute() if args.work else Path(tempfile.mkdtemp(prefix="reproduce-"))
    try:
        sys.stderr.write(f"{check(package)} files are as they were made.\n")
        report = reproduce(package, work, here=args.here, uv=None if args.pip else shutil.which("uv"))
    except CannotTryError as error:
        sys.stderr.write(f"It could not be tried: {error}\n")
        return 2
    sys.stdout.write(f"{told(report)}\n")
    return EXIT.get(report["verdict"], 1)


if __name__ == "__main__":
    sys.exit(main())
