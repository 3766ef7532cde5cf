"""Signing a package: an Ed25519 key of this data directory, and what its signature covers."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.errors import UnavailableError
from physlab_mcp.nodes.registry import need

ALGORITHM = "Ed25519"


def fingerprint_of(public: bytes) -> str:
    """The name of a public key: `sha256:` and 64 hex digits over its 32 bytes."""
    return f"sha256:{hashlib.sha256(public).hexdigest()}"


def _keys() -> Any:
    need("cryptography", "packages")
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return ed25519


def _private(path: Path, *, create: bool) -> Any:
    """The key in a file of mode 0600; made at first use, by one of several that try at once."""
    keys = _keys()
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        if not create:
            return None
        made = keys.Ed25519PrivateKey.generate().private_bytes_raw()
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(fd, "wb") as stream:
                stream.write(made)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(temporary, path)  # unlike a rename, it never replaces the key of another
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        raw = path.read_bytes()
    if len(raw) != 32:
        raise UnavailableError(
            f"The signing key {path} has {len(raw)} bytes instead of 32.", got=str(path),
            remedy="Restore it from a copy, or move it away: a new one is made then, with another fingerprint.",
        )  # fmt: skip
    return keys.Ed25519PrivateKey.from_private_bytes(raw)


def own_fingerprint(path: Path) -> str | None:
    """The fingerprint of this data directory's key, or None where it never signed."""
    private = _private(path, create=False)
    return fingerprint_of(private.public_key().public_bytes_raw()) if private is not None else None


def sign(signed: Mapping[str, Any], key: Path) -> dict[str, Any]:
    """The signature file over the canonical JSON of `signed`; the key is made at first use.

    Raises:
        UnavailableError: cryptography is not installed, or the key file is damaged.

    """
    private = _private(key, create=True)
    public: bytes = private.public_key().public_bytes_raw()
    return {
        "algorithm": ALGORITHM,
        "public_key": base64.b64encode(public).decode(),
        "fingerprint": fingerprint_of(public),
        "signed": dict(signed),
        "signature": base64.b64encode(private.sign(canonical_json(dict(signed)))).decode(),
    }


def flaw_of(body: Any) -> str | None:
    """Why a signature file does not hold, or None if it does. It says nothing about whose key it is.

    Raises:
        UnavailableError: cryptography is not installed.

    """
    keys = _keys()
    from cryptography.exceptions import InvalidSignature

    if not isinstance(body, dict) or body.get("algorithm") != ALGORITHM or not isinstance(body.get("signed"), dict):
        return f"it is no {ALGORITHM} signature"
    try:
        public = base64.b64decode(body["public_key"], validate=True)
        signature = base64.b64decode(body["signature"], validate=True)
        keys.Ed25519PublicKey.from_public_bytes(public).verify(signature, canonical_json(body["signed"]))
    except InvalidSignature:
        return "the signature does not fit what it signs"
    except (KeyError, TypeError, ValueError) as error:
        return f"it cannot be read: {error}"
    return None if body.get("fingerprint") == fingerprint_of(public) else "the fingerprint is not that of the key"
