"""The backend contract (tests/contracts/test_backend.py), test for test, on the real API server."""

from tests.contracts.test_backend import *  # noqa: F403
