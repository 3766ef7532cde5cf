"""Where data is kept. Every path below the data directory is named here and nowhere else."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

from physlab_mcp.errors import ForbiddenError, UnavailableError


def default_data_dir() -> Path:
    """`$PHYSLAB_DATA_DIR`, else the platform's user data directory."""
    named = os.environ.get("PHYSLAB_DATA_DIR")
    if named:
        return Path(named).expanduser().absolute()
    return usual_data_dir()


def usual_data_dir() -> Path:
    """The platform's user data directory of physlab, whatever the environment says."""
    from platformdirs import user_data_path

    return user_data_path("physlab-mcp", appauthor=False)


class DataDir:
    """The data directory and every place in it."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser().absolute()

    def create(self) -> DataDir:
        """Make the directory (0700) and its rooms.

        Raises:
            UnavailableError: it cannot be made, is no directory, or cannot be written to.

        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for place in (self.blobs, self.jobs, self.spool, self.logs):
                place.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._useless(
                "it is no directory" if self._no_directory() else error.strerror or str(error)
            ) from None
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise self._useless("it is not writable")
        return self

    def _no_directory(self) -> bool:
        return os.path.lexists(self.root) and not self.root.is_dir()

    def _useless(self, reason: str) -> UnavailableError:
        return UnavailableError(
            f"The data directory {self.root} cannot be used: {reason}.",
            field="data_dir",
            got=str(self.root),
            remedy="Name a folder that you may write to with --data-dir or $PHYSLAB_DATA_DIR, or mend its permissions.",
        )

    @property
    def store(self) -> Path:
        """The SQLite file."""
        return self.root / "physlab.db"

    @property
    def blobs(self) -> Path:
        """Artifacts by SHA-256: blobs/<2 hex>/<62 hex>."""
        return self.root / "blobs"

    @property
    def jobs(self) -> Path:
        """Job folders: jobs/<2 hex>/<job id>."""
        return self.root / "jobs"

    @property
    def spool(self) -> Path:
        """One file per warm worker."""
        return self.root / "spool"

    @property
    def logs(self) -> Path:
        """Logs of the engine and of workers."""
        return self.root / "logs"

    @property
    def reports(self) -> Path:
        """Published reports: <run id>.pdf."""
        return self.root / "reports"

    @property
    def plans(self) -> Path:
        """What a remote planner answered, by content."""
        return self.root / "plans"

    @property
    def functions(self) -> Path:
        """One empty file for each artifact that may be unpickled: functions/<sha256>, made by the library alone."""
        return self.root / "functions"

    @property
    def engine_lock(self) -> Path:
        """Held by the engine of this host while it lives."""
        return self.root / "engine.lock"

    @property
    def engine_log(self) -> Path:
        """What the engine says."""
        return self.logs / "engine.log"

    @property
    def http_token(self) -> Path:
        """0600 file with the bearer token of the HTTP servers."""
        return self.root / "http.token"

    @property
    def packages(self) -> Path:
        """Packages made for agents: packages/<run id>/<name>.zip."""
        return self.root / "packages"

    @property
    def signing_key(self) -> Path:
        """0600 file with the Ed25519 key that signs packages."""
        return self.root / "signing.key"

    def job_folder(self, job_id: str) -> Path:
        """The folder of one job, sharded by two hex digits of its id's hash."""
        shard = hashlib.sha256(job_id.encode()).hexdigest()[:2]
        return self.jobs / shard / job_id

    def engine_socket(self) -> Path:
        """A short path for the engine's socket: Unix sockets allow about 100 bytes."""
        if sys.platform == "win32":
            return self.root / "engine.addr"
        base = os.environ.get("XDG_RUNTIME_DIR")
        uid = os.getuid()
        folder = (
            Path(base) / "physlab" if base and Path(base).is_dir() else Path(tempfile.gettempdir()) / f"physlab-{uid}"
        )
        folder.mkdir(mode=0o700, exist_ok=True, parents=True)
        owner = folder.stat()
        if owner.st_uid != uid or owner.st_mode & 0o077:
            raise ForbiddenError(
                f"The socket folder {folder} belongs to user {owner.st_uid} with mode {owner.st_mode & 0o777:o}.",
                got=str(folder),
                remedy="Remove it, or set XDG_RUNTIME_DIR to a private folder of yours.",
            )
        return folder / (hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:16] + ".sock")


def confine(path: str | Path, roots: list[Path], *, field: str, must_exist: bool = True) -> Path:
    """Resolve `path` with all symbolic links and check that it lies under one of `roots`.

    Raises:
        ForbiddenError: it lies outside of all roots, is no path, or does not exist although it must.

    """
    try:
        named = Path(path).expanduser()
        if not named.is_absolute() and roots:
            named = roots[0] / named
        real = named.resolve()
    except (ValueError, RuntimeError, OSError) as error:  # a NUL, an unknown ~user, a name that is too long
        raise ForbiddenError(
            f"{field} names {str(path)[:200]!r}, which is no path: {error}.",
            field=field,
            got=str(path)[:200],
            remedy="Name a file or folder by its path.",
        ) from error
    if not any(real == root or real.is_relative_to(root) for root in (r.resolve() for r in roots)):
        raise ForbiddenError(
            f"{field} names {str(path)!r}, which lies outside of the allowed roots.",
            field=field,
            got=str(path),
            remedy="Allowed: " + ", ".join(str(r) for r in roots) + ". Start the server with --root DIR to allow more.",
        )
    if must_exist and not os.path.exists(real):  # noqa: PTH110 - Path.exists raises for a name that is too long
        raise ForbiddenError(
            f"{field} names {str(path)!r}, which does not exist.",
            field=field,
            got=str(path),
            remedy="Name an existing file or folder.",
        )
    return real
