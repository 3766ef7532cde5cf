"""The S3-compatible store by which large results come home. Pods get an address signed for one object, never the keys."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from physlab_mcp.backends.kubernetes.settings import SECTION, ObjectStore, SecretSource
from physlab_mcp.errors import UnavailableError
from physlab_mcp.schemas.job import Job

_TIMEOUT_S = 60


def secret_of(source: SecretSource, *, field: str) -> str:
    """A secret of this machine.

    Raises:
        UnavailableError: the variable is not set, or the file cannot be read; the secret itself is never told.

    """
    try:
        found = os.environ.get(source.env, "") if source.env else Path(source.file).read_text().splitlines()[0].strip()
    except (OSError, IndexError, UnicodeDecodeError):
        found = ""
    if not found:
        place = f"the variable {source.env}" if source.env else f"the file {source.file}"
        raise UnavailableError(
            f"There is no secret in {place}.", field=f"{SECTION}.object_store.{field}", got=place,
            remedy="Set it where the engine runs.",
        )  # fmt: skip
    return found


class Shelf:
    """One bucket of a store; blocking."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def _client(self, endpoint: str) -> Any:
        with self._lock:
            if endpoint not in self._clients:
                self._clients[endpoint] = self._made(endpoint)
            return self._clients[endpoint]

    def _made(self, endpoint: str) -> Any:
        try:
            import boto3  # pyright: ignore[reportMissingTypeStubs]
            from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]
        except ImportError as error:
            raise UnavailableError(
                f"The package for object stores is not installed: {error}.",
                remedy="Install it: pip install 'physlab-mcp[cluster]'.",
            ) from error  # fmt: skip
        store = self._store
        config: Any = Config(
            signature_version="s3v4", s3={"addressing_style": "path"}, connect_timeout=_TIMEOUT_S,
            read_timeout=_TIMEOUT_S, retries={"max_attempts": 3}, request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )  # fmt: skip
        made: Any = boto3
        return made.client(
            "s3", endpoint_url=endpoint.rstrip("/"), region_name=store.region, config=config,
            aws_access_key_id=secret_of(store.access_key, field="access_key"),
            aws_secret_access_key=secret_of(store.secret_key, field="secret_key"),
        )  # fmt: skip

    def key(self, job: Job) -> str:
        """The name of the object with the results of a dispatch."""
        return f"{self._store.prefix}results/{job.id}/{job.attempt}.{job.fence}.tar.gz"

    def address(self, job: Job) -> str:
        """Where its pod puts them: good for `address_lifetime_s`.

        Raises:
            UnavailableError: there are no keys.

        """
        client = self._client(self._store.endpoint_in_pods or self._store.endpoint)
        where = {"Bucket": self._store.bucket, "Key": self.key(job)}
        return client.generate_presigned_url("put_object", Params=where, ExpiresIn=self._store.address_lifetime_s)

    def fetch(self, job: Job, target: Path) -> None:
        """Bring them home.

        Raises:
            UnavailableError: the store cannot be reached, or has none.

        """
        self._ask("download_file", job, str(target))

    def forget(self, job: Job) -> None:
        """Remove them; once more is no error.

        Raises:
            UnavailableError: the store cannot be reached.

        """
        self._ask("delete_object", job, None)

    def _ask(self, verb: str, job: Job, target: str | None) -> None:
        client = self._client(self._store.endpoint)
        bucket, key = self._store.bucket, self.key(job)
        try:
            if target is None:
                getattr(client, verb)(Bucket=bucket, Key=key)
            else:
                getattr(client, verb)(bucket, key, target)
        except Exception as error:  # botocore's many, and those of its HTTP
            raise UnavailableError(
                f"The object store {self._store.endpoint} does not give {bucket}/{key}: {type(error).__name__}: {error}",
                got=self._store.endpoint, remedy=f"Check {SECTION}.object_store and whether the store answers.",
            ) from error  # fmt: skip
