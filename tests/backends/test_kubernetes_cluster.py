"""What nodes hold, and what is refused because none could ever hold it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.backends.kube_objects import settings

from physlab_mcp.backends.kubernetes.api import Api, RefusalError, place_of, refusal_of
from physlab_mcp.backends.kubernetes.cluster import amount, check_room, holdings, most
from physlab_mcp.backends.kubernetes.pods import RUNNER_BYTES
from physlab_mcp.errors import RejectedError, UnavailableError
from physlab_mcp.schemas.job import JobSpec, Resources


def node(name="a", *, cpu="8", memory="16Gi", gpu=None, taints=(), labels=None, ready="True", cordoned=False):
    room = {"cpu": cpu, "memory": memory, "pods": "110", **({"nvidia.com/gpu": gpu} if gpu else {})}
    spec = {"taints": list(taints), **({"unschedulable": True} if cordoned else {})}
    conditions = [{"type": "Ready", "status": ready, "reason": "KubeletReady"}]
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec,
            "status": {"allocatable": room, "conditions": conditions}}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number"),
    [("1500m", 1.5), ("8", 8), ("16Gi", 16 << 30), ("1e3", 1000), ("2G", 2e9), ("129M", 129e6), ("", 0), (None, 0),
     ("x", 0), ("1Zi", 0)],
)  # fmt: skip
def test_quantities_are_read_as_the_server_writes_them(text, number):
    assert amount(text) == number


@given(st.text(max_size=12))
def test_no_quantity_stops_the_reader(text):
    assert amount(text) >= 0


def test_the_largest_that_one_node_holds_is_the_limit_and_the_runner_has_its_share():
    found = most(holdings([node("a", cpu="4", memory="64Gi"), node("b", cpu="7910m", gpu="2")], settings()))
    assert found == {"cpu": 7.91, "memory_bytes": (64 << 30) - RUNNER_BYTES, "gpu": 2}


def test_nodes_where_the_settings_let_no_job_go_do_not_count_and_those_that_come_back_do():
    taint = {"key": "dedicated", "value": "physics", "effect": "NoSchedule"}
    nodes = [
        node("tainted", cpu="64", taints=[taint]), node("away", cpu="32", ready="Unknown"),
        node("closed", cpu="16", cordoned=True), node("free", cpu="8"),
    ]  # fmt: skip
    held = holdings(nodes, settings())
    assert [one.usable for one in held] == [False, False, False, True]
    assert most(held)["cpu"] == 32
    tolerant = settings(tolerations=[{"key": "dedicated", "value": "physics", "effect": "NoSchedule"}])
    assert most(holdings(nodes, tolerant))["cpu"] == 64
    assert most(holdings(nodes, settings(node_selector={"disk": "ssd"}))) == most(None)


@pytest.mark.parametrize(
    ("what", "asked"),
    [("cpu", Resources(cpu=8.5)), ("memory", Resources(memory_bytes=17 << 30)), ("gpu", Resources(gpu=1))],
)
def test_what_no_node_holds_is_refused_naming_both(what, asked):
    limits = most(holdings([node()], settings()))
    with pytest.raises(RejectedError) as refused:
        check_room(JobSpec(command=("a",), resources=asked), limits)
    assert refused.value.field == f"resources.{what}"
    check_room(JobSpec(command=("a",), resources=asked), most(None))


def test_answers_of_the_server_are_told_in_its_words():
    body = b'{"kind": "Status", "reason": "Forbidden", "message": "no", "code": 403}'
    told = refusal_of(403, body)
    assert (told.reason, told.message, told.passing) == ("Forbidden", "no", False)
    busy = refusal_of(429, b"slow down", "7")
    assert (busy.message, busy.passing, busy.retry_after_s) == ("slow down", True, 7.0)
    assert refusal_of(502, b"\xff<html>", "soon").retry_after_s == 0.0
    assert isinstance(busy, RefusalError)


def test_paths_are_those_of_the_api():
    assert place_of("Job", "n", "x") == "/apis/batch/v1/namespaces/n/jobs/x"
    assert place_of("Pod", "n", "x", "log") == "/api/v1/namespaces/n/pods/x/log"
    assert place_of("Secret", "n") == "/api/v1/namespaces/n/secrets"


async def test_a_missing_kubeconfig_is_named_and_fills_no_log(tmp_path, caplog):
    api = Api(settings(kubeconfig=str(tmp_path / "none")))
    with pytest.raises(UnavailableError) as refused:
        await api.get("/version")
    assert (refused.value.field, refused.value.got) == ("backends.kubernetes.kubeconfig", str(tmp_path / "none"))
    assert not caplog.records
    await api.aclose()
