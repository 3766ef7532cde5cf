"""The object store: signed addresses that a pod can use, and what they do not give away."""

import io
import urllib.error
import urllib.request

import pytest
from tests.backends.object_store_server import KEY, KEY_ID, object_store

from physlab_mcp.backends.kubernetes.settings import read_settings
from physlab_mcp.backends.kubernetes.shelf import Shelf
from physlab_mcp.errors import UnavailableError
from physlab_mcp.schemas.job import Job, JobSpec

JOB = Job(id="job-1", kind="command", spec=JobSpec(command=("true",)), attempt=2, fence=3)


@pytest.fixture
def server():
    with object_store() as found:
        yield found


@pytest.fixture
def shelf(server, monkeypatch, tmp_path):
    monkeypatch.setenv("S3_ID", KEY_ID)
    (tmp_path / "key").write_text(f"{KEY}\n")
    store = {"endpoint": server.url, "bucket": "physlab", "access_key": {"env": "S3_ID"},
             "secret_key": {"file": str(tmp_path / "key")}}  # fmt: skip
    return Shelf(read_settings({"image": "a:1", "object_store": store}).object_store)


def put(address, data):
    request = urllib.request.Request(
        address, data=io.BytesIO(data), method="PUT", headers={"Content-Length": str(len(data))}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


def test_what_is_put_at_the_address_comes_home_and_can_be_removed(shelf, server, tmp_path):
    address = shelf.address(JOB)
    assert KEY not in address
    assert put(address, b"results") == 200
    assert list(server.objects) == ["/physlab/physlab/results/job-1/2.3.tar.gz"]
    shelf.fetch(JOB, tmp_path / "home")
    assert (tmp_path / "home").read_bytes() == b"results"
    shelf.forget(JOB)
    shelf.forget(JOB)
    assert server.objects == {}


def test_an_address_is_good_for_its_own_object_alone(shelf):
    with pytest.raises(urllib.error.HTTPError):
        put(shelf.address(JOB).replace("job-1", "job-2"), b"others")


def test_what_is_not_there_or_cannot_be_had_is_unavailable(shelf, server, tmp_path, monkeypatch):
    with pytest.raises(UnavailableError):
        shelf.fetch(JOB, tmp_path / "home")
    monkeypatch.delenv("S3_ID")
    store = {
        "endpoint": server.url,
        "bucket": "physlab",
        "access_key": {"env": "S3_ID"},
        "secret_key": {"env": "S3_ID"},
    }
    with pytest.raises(UnavailableError) as refused:
        Shelf(read_settings({"image": "a:1", "object_store": store}).object_store).address(JOB)
    assert refused.value.field == "backends.kubernetes.object_store.access_key"
