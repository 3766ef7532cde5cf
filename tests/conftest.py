"""What holds for every test."""

from __future__ import annotations

import signal

# A shell that puts `make test` in the background has Ctrl-C ignored, and every process started from here would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
