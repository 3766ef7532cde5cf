"""A network of its own for a server, on cables that can be pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest


class Wire:
    """A network namespace behind a cable: `here` is our address on it, `there` the one of who runs inside (`prefix`).

    `pull` cuts the cable without a word to either end: nobody is told that a connection is over. `hush` is more silent
    still: both ends believe in the cable.
    """

    def __init__(self) -> None:
        if os.getuid() or not shutil.which("ip"):
            pytest.skip("a network namespace needs root and `ip`")
        self.name = f"physlab{os.urandom(3).hex()}"
        self.prefix = ("ip", "netns", "exec", self.name)
        try:
            self._ip(f"netns add {self.name}")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespace can be made here: {error.stderr.decode().strip()}")
        self._cables = 0
        self.here, self.there = self.cable()

    def cable(self) -> tuple[str, str]:
        """Another cable, which `pull` leaves alone; our address on it and theirs."""
        self._cables += 1
        net, end = f"10.{200 + self._cables}.{os.urandom(1)[0]}", self._end(self._cables)
        self._ip(f"link add {end}a type veth peer name {end}b netns {self.name}")
        self._ip(f"addr add {net}.1/24 dev {end}a")
        self._ip(f"link set {end}a up")
        self._ip(f"-n {self.name} addr add {net}.2/24 dev {end}b")
        self._ip(f"-n {self.name} link set {end}b up")
        return f"{net}.1", f"{net}.2"

    def pull(self) -> None:
        """Nothing gets through from now on, either way."""
        self._ip(f"-n {self.name} link set {self._end(1)}b down")

    def plug(self) -> None:
        """All gets through again."""
        self._ip(f"-n {self.name} link set {self._end(1)}b up")

    def hush(self) -> None:
        """The cable stays, and whatever is sent is dropped, at both ends."""
        for where in (("tc",), (*self.prefix, "tc")):
            end = f"{self._end(1)}{'a' if where == ('tc',) else 'b'}"
            self._run([*where, "qdisc", "add", "dev", end, "root", "blackhole"])

    def speak(self) -> None:
        """The end of `hush`."""
        for where in (("tc",), (*self.prefix, "tc")):
            end = f"{self._end(1)}{'a' if where == ('tc',) else 'b'}"
            self._run([*where, "qdisc", "del", "dev", end, "root"])

    def crossed(self) -> tuple[int, int]:
        """Bytes that went there and that came here so far, as the card counts them."""
        told = Path("/sys/class/net", f"{self._end(1)}a", "statistics")
        return int((told / "tx_bytes").read_text()), int((told / "rx_bytes").read_text())

    def remove(self) -> None:
        """Take all of it away."""
        self._ip(f"netns del {self.name}")

    def _end(self, number: int) -> str:
        return f"{self.name[-6:]}{number}"

    def _ip(self, words: str) -> None:
        self._run(["ip", *words.split()])

    @staticmethod
    def _run(words: list[str]) -> None:
        subprocess.run(words, check=True, capture_output=True, timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
