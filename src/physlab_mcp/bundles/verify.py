"""Whether a package is what its maker left, is complete, and follows its profile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath
from typing import Any

from physlab_mcp.bundles import shapes, signature
from physlab_mcp.bundles.completeness import completeness
from physlab_mcp.bundles.container import (
    MOST_BYTES,
    MOST_FILES,
    Container,
    digest,
    open_package,
    read_json,
    unsafe_name,
)
from physlab_mcp.bundles.file_forms import NAMES, forms
from physlab_mcp.bundles.profile import profile
from physlab_mcp.bundles.shapes import Check, Verification
from physlab_mcp.errors import RequestError, UnavailableError

MOST_TOLD = 20


def verify_package(path: Path, *, trusted: Collection[str] = (), own_key: Path | None = None) -> Verification:
    """Check a package without running anything of it.

    `trusted` are fingerprints that the reader knows; the key of `own_key` is known too. A valid signature by an
    unknown key passes, and is told as such: it proves only that nothing changed since that key signed.

    Raises:
        NotFoundError: nothing is at `path`.
        RequestError: it is neither folder nor zip.

    """
    return _Verifying(open_package(path), trusted, own_key).run()


class _Verifying:
    def __init__(self, container: Container, trusted: Collection[str], own_key: Path | None) -> None:
        self.container = container
        self.trusted = set(trusted)
        self.own_key = own_key
        self.sizes = container.names()
        self.checks: list[Check] = []
        self.listed: dict[str, dict[str, Any]] = {}
        self.signed: dict[str, Any] = {}
        self.fingerprint = ""
        self.known = False
        self.readable = False  # every JSON file that is there has its form, and there is a description

    def run(self) -> Verification:
        """All checks; those that need what an earlier one found missing are skipped."""
        self._step("names", self._names)
        sound = self._ok()
        self._step("manifest", self._manifest)
        if sound and self.listed:
            self._step("files", self._files)
            self._step("hashes", self._hashes)
        self._step("signature", self._signature)
        info: dict[str, Any] = {}
        if self._ok():
            self._step("forms", self._forms)
        if self.readable:
            info = read_json(self.container, shapes.INFO)
            self.checks += completeness(self.container, info)
            self._step("profile", lambda: profile(self.container))
            self.checks.append(_limits(info))
        else:
            text = "not looked at: what was found before has to be right first"
            self.checks += [Check(name, "skipped", text) for name in ("completeness", "profile")]
        return Verification(
            path=str(self.container.path),
            ok=self._ok(),
            checks=self.checks,
            files=len(self.sizes),
            bytes=sum(self.sizes.values()),
            handle=str(info.get("handle", "")),
            name=str(info.get("name", "")),
            fingerprint=self.fingerprint,
            trusted=self.known,
        )

    def _ok(self) -> bool:
        return all(check.verdict != "failed" for check in self.checks)

    def _step(self, name: str, work: Callable[[], tuple[str, list[str]] | Check]) -> None:
        """A check from its text and what is wrong; what cannot be read has failed."""
        try:
            found = work()
        except RequestError as error:
            found = Check(name, "failed", error.message)
        except OSError as error:
            found = Check(name, "failed", f"it cannot be read: {error.strerror or error}")
        if isinstance(found, tuple):
            text, wrong = found
            told = tuple(wrong[:MOST_TOLD])
            found = Check(name, "failed" if wrong else "ok", f"{len(wrong)} wrong" if wrong else text, told)
        self.checks.append(found)

    def _names(self) -> tuple[str, list[str]]:
        wrong = self.container.odd()
        wrong += [f"{name}: its name leads outside of the package" for name in self.sizes if unsafe_name(name)]
        if len(self.sizes) > MOST_FILES or sum(self.sizes.values()) > MOST_BYTES:
            wrong.append(f"{len(self.sizes)} files of {sum(self.sizes.values())} bytes: more than a package may have")
        return f"{len(self.sizes)} plain files", wrong

    def _manifest(self) -> tuple[str, list[str]]:
        body = read_json(self.container, shapes.MANIFEST)
        files = body.get("files") if isinstance(body, dict) else None
        if not isinstance(files, list) or body.get("format") != "physlab-package-manifest/1":
            return "", ["it is no manifest of this format"]
        wrong: list[str] = []
        order: list[str] = []
        for one in files:
            good = isinstance(one, dict) and isinstance(one.get("path"), str) and isinstance(one.get("size"), int)
            if not good or not isinstance(one.get("sha256"), str) or unsafe_name(one["path"]):
                wrong.append(f"an entry that is none: {str(one)[:100]}")
                continue
            order.append(one["path"])
            self.listed[one["path"]] = one
        if body.get("count") != len(files):
            wrong.append(f"it counts {body.get('count')} files and lists {len(files)}: it was cut or extended")
        if body.get("bytes") != sum(one["size"] for one in self.listed.values()):
            wrong.append("its sum of bytes is not that of its entries")
        if order != sorted(set(order)):
            wrong.append("its entries are not in order, or one is there twice")
        return f"{len(files)} files listed", wrong

    def _files(self) -> tuple[str, list[str]]:
        here = set(self.sizes) - shapes.UNSIGNED
        wrong = [f"{name}: missing" for name in sorted(set(self.listed) - here)]
        wrong += [f"{name}: not in the manifest" for name in sorted(here - set(self.listed))]
        wanted = {folder for name in self.listed for folder in map(str, PurePosixPath(name).parents)}
        wrong += [f"{name}/: an empty folder" for name in self.container.empty() if name not in wanted]
        return "none missing, none added", wrong

    def _hashes(self) -> tuple[str, list[str]]:
        wrong: list[str] = []
        total = 0
        for name, one in self.listed.items():
            if name not in self.sizes:
                continue
            if self.sizes[name] != one["size"]:
                wrong.append(f"{name}: {self.sizes[name]} bytes instead of {one['size']}")
                continue
            try:
                found, size = digest(self.container, name, one["size"])
            except OSError as error:
                wrong.append(f"{name}: it cannot be read ({error})")
                continue
            total += size
            if found != one["sha256"] or size != one["size"]:
                wrong.append(f"{name}: its content changed")
        return f"{total} bytes are as listed", wrong

    def _forms(self) -> tuple[str, list[str]]:
        wrong = forms(self.container)
        self.readable = not wrong and shapes.INFO in self.sizes
        wrong += [f"{name}: missing" for name in sorted(NAMES - set(self.sizes))]
        return f"{len(NAMES)} files of records", wrong

    def _signature(self) -> Check:
        if shapes.SIGNATURE not in self.sizes:
            return Check("signature", "failed", "the package is not signed")
        if shapes.MANIFEST not in self.sizes:
            return Check("signature", "failed", f"{shapes.MANIFEST}, which it signs, is not there")
        body = read_json(self.container, shapes.SIGNATURE)
        try:
            flaw = signature.flaw_of(body)
            own = signature.own_fingerprint(self.own_key) if self.own_key is not None else None
        except UnavailableError as error:
            return Check("signature", "skipped", str(error))
        if flaw:
            return Check("signature", "failed", flaw)
        self.signed = body["signed"]
        wrong: list[str] = []
        with self.container.open(shapes.MANIFEST) as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != self.signed.get("manifest_sha256"):
                wrong.append("the manifest is not the one that was signed")
        if self.signed.get("count") != len(self.listed):
            wrong.append(f"{self.signed.get('count')} files were signed, the manifest lists {len(self.listed)}")
        self.fingerprint = body["fingerprint"]
        self.known = self.fingerprint in self.trusted or self.fingerprint == own
        if wrong:
            return Check("signature", "failed", f"{len(wrong)} wrong", tuple(wrong))
        whose = "a key that is known here" if self.known else "a key that is not known here"
        if self.trusted and not self.known:
            return Check("signature", "failed", f"signed by {self.fingerprint}, which is none of the trusted keys")
        return Check("signature", "ok", f"valid, by {whose}: {self.fingerprint}")


def _limits(info: dict[str, Any]) -> Check:
    """What its maker was told to be missing or to mean nothing: no flaw of the package, but a reader has to know it."""
    known = tuple(info["warnings"])
    text = f"{len(known)} known, as its README tells" if known else "none are known"
    return Check("limits", "ok", text, known[:MOST_TOLD])
