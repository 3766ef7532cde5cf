"""Stands where rsync wants its remote shell: hands its words and bytes to the connection that physlab has already.

`python -I -S bridge.py SOCKET HOST WORD...`: standard library only.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading


def _pump(source: int, line: socket.socket) -> None:
    while True:
        piece = os.read(source, 1 << 16)
        if not piece:
            break
        line.sendall(piece)
    line.shutdown(socket.SHUT_WR)


def main() -> int:
    """Pump both ways until the other end is done."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.connect(sys.argv[1])
    line.sendall(json.dumps(sys.argv[3:]).encode() + b"\n")
    threading.Thread(target=_pump, args=(0, line), daemon=True).start()
    while True:
        piece = line.recv(1 << 16)
        if not piece:
            return 0
        while piece:
            piece = piece[os.write(1, piece) :]


if __name__ == "__main__":
    sys.exit(main())
