"""The one connection to a host: made when it is needed, used by all, made anew after it was cut, with back-off."""

from __future__ import annotations

import logging
import random
import time
from functools import partial
from typing import TYPE_CHECKING

import anyio
import msgspec

from physlab_mcp.backends.hosts.host import HostKeyError, LoginError, unavailable
from physlab_mcp.backends.hosts.ssh_login import load, log_in
from physlab_mcp.backends.hosts.ssh_settings import SSHSettings, stamps
from physlab_mcp.errors import UnavailableError

if TYPE_CHECKING:
    import asyncssh


logger = logging.getLogger(__name__)


class BackOff(msgspec.Struct, frozen=True, kw_only=True):
    """How long is waited between tries, in seconds: doubling from `first_s` to `most_s`, less up to half by chance."""

    first_s: float = 1.0
    most_s: float = 60.0
    refused_s: float = 600.0

    def delay(self, failures: int, chance: float) -> float:
        """The wait after so many failures in a row; `chance` lies between 0 and 1."""
        return min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 32)) * (1 - chance / 2)


class Link:
    """A connection to the last hop, over those before it."""

    def __init__(self, settings: SSHSettings, back_off: BackOff) -> None:
        settings.check()
        self._settings = settings
        self._back_off = back_off
        self._lock = anyio.Lock()
        self._making: anyio.CancelScope | None = None  # what is being connected now
        self._hops: list[asyncssh.SSHClientConnection] = []
        self._up = False
        self._made = 0  # connections so far, so that an old one's end is not taken for the new one's
        self._since = time.time()
        self._failures = 0
        self._next_try = 0.0  # by the monotonic clock
        self._trouble: UnavailableError | None = None
        self._refused_files: list[tuple[int, int, int] | None] = []
        self._reason = "it was never reached"

    @property
    def connected(self) -> bool:
        """See Host."""
        return self._up and not any(hop.is_closed() for hop in self._hops)

    @property
    def since(self) -> float:
        """See Host."""
        return self._since

    @property
    def reason(self) -> str:
        """Why it is not connected."""
        return self._reason

    async def connection(self) -> asyncssh.SSHClientConnection:
        """The connection, made now if there is none.

        Raises:
            UnavailableError: it could not be made, or the wait after the last failure is not over.

        """
        if self.connected:
            return self._hops[-1]
        async with self._lock:
            if self.connected:
                return self._hops[-1]
            if self._trouble is not None and self._must_wait():
                raise self._again(self._trouble)
            self._drop()
            with anyio.CancelScope() as making:
                self._making = making
                await self._connect()
            if making.cancelled_caught:
                raise self.cut("The connection was closed while it was made.", sent=False)
            return self._hops[-1]

    def cut(self, message: str, *, sent: bool) -> UnavailableError:
        """What to raise when the connection went away under a command."""
        state = "the connection stands" if self.connected else f"away since {moment(self._since)}: {self._reason}"
        return unavailable(
            f"{message} {self._settings.shown}: {state}.",
            sent=sent, since=self._since, got=self._settings.shown,
            remedy="Whether it was carried out is not known: look before saying it again." if sent else "Try again.",
        )  # fmt: skip

    def _must_wait(self) -> bool:
        if isinstance(self._trouble, HostKeyError | LoginError) and (
            stamps(self._settings.files()) != self._refused_files
        ):
            return False
        return time.monotonic() < self._next_try

    def _again(self, trouble: UnavailableError) -> UnavailableError:
        wait_s = max(0.0, self._next_try - time.monotonic())
        message = f"{trouble.message} Next try in {wait_s:.0f} s."
        return unavailable(
            message, sent=False, since=self._since, got=trouble.got, remedy=trouble.remedy or "", kind=type(trouble)
        )

    async def _connect(self) -> None:
        await load()
        import asyncssh

        hop, files = self._settings, stamps(self._settings.files())
        self._made += 1
        try:
            for hop in (*self._settings.jump, self._settings):
                tunnel = self._hops[-1] if self._hops else None
                self._hops.append(await log_in(hop, tunnel, partial(self._lost, self._made)))
        except (HostKeyError, LoginError) as error:
            self._fail(error, self._back_off.refused_s, files)
            raise
        except (OSError, TimeoutError, asyncssh.Error) as error:
            delay_s = self._back_off.delay(self._failures + 1, random.random())  # noqa: S311 - not a secret
            trouble = self._unreachable(hop, error)
            self._fail(trouble, delay_s, files)
            raise trouble from None
        except BaseException:
            self._drop()
            raise
        self._failures, self._trouble, self._since, self._up = 0, None, time.time(), True
        logger.info("%s: connected", self._settings.shown)

    def _unreachable(self, hop: SSHSettings, error: Exception) -> UnavailableError:
        import asyncssh

        way = (*self._settings.jump, self._settings)
        before = way[way.index(hop) - 1] if self._hops else None  # the hop that should have led to it
        at = "" if hop is self._settings else f" (at the jump host {hop.shown})"
        reason = f"no answer within {hop.connect_timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
        remedy = f"Check network, VPN, {hop.section}.host and port; it is tried again."
        if before is not None and isinstance(error, asyncssh.ChannelOpenError):
            reason = f"the jump host {before.shown} opens no way to it: {reason}"
            remedy = (
                f"Check {hop.section}.host and port, and that {before.host} may forward (AllowTcpForwarding there)."
            )
        return unavailable(
            f"{self._settings.shown} cannot be reached since {moment(self._since)}{at}: {reason}.",
            sent=False, since=self._since, got=hop.shown, remedy=remedy,
        )  # fmt: skip

    def _fail(self, trouble: UnavailableError, delay_s: float, files: list[tuple[int, int, int] | None]) -> None:
        self._failures += 1
        self._trouble, self._refused_files = trouble, files
        self._next_try = time.monotonic() + delay_s
        self._reason = trouble.message
        logger.warning("%s", trouble.message)
        self._drop()

    def _lost(self, made: int, reason: str) -> None:
        """A hop is gone: told by asyncssh, once for each; the first one counts."""
        if self._up and made == self._made:
            self._up, self._since, self._reason = False, time.time(), reason
            logger.info("%s: connection ended: %s", self._settings.shown, reason)

    def forget(self, connection: asyncssh.SSHClientConnection) -> None:
        """It does not answer: the next call makes another one, unless somebody has already."""
        if self._hops and self._hops[-1] is connection:
            self._drop()

    def _drop(self) -> None:
        self._lost(self._made, "it does not answer")
        hops, self._hops = self._hops, []
        for hop in reversed(hops):
            hop.abort()

    async def aclose(self) -> None:
        """Close all hops, the last one first; a login that still waits for an answer is given up."""
        if self._making is not None:
            self._making.cancel()
        async with self._lock:
            self._lost(self._made, "closed")
            hops, self._hops = self._hops, []
            for hop in reversed(hops):
                hop.close()
            for hop in reversed(hops):
                with anyio.move_on_after(2):
                    await hop.wait_closed()


def moment(at: float) -> str:
    """A time of the epoch as UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
