"""The fake Kubernetes API server answers the official client as a real one does."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import re
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from kubernetes import client, config, watch
from kubernetes.client import ApiException
from tests.fakes.kubernetes_api import FakeCluster, Image, Node, recorded
from tests.fakes.kubernetes_api.kubelet import memory
from tests.waiting import until

IMAGE = "python:3.12"
JOBS = "/apis/batch/v1/namespaces/default/jobs"


class Clients:
    """One cluster and the official client's groups on it."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.api = config.new_client_from_config(str(cluster.kubeconfig))
        self.batch, self.core = client.BatchV1Api(self.api), client.CoreV1Api(self.api)

    def raw(self, method: str, path: str, body: Any = None, **query: str) -> urllib3.BaseHTTPResponse:
        """A request that the client, which checks what it sends, would not make."""
        headers = {"Authorization": f"Bearer {self.cluster.token}", "Content-Type": "application/json"}
        tail = "?" + urllib.parse.urlencode(query) if query else ""
        data = None if body is None else json.dumps(body)
        return urllib3.PoolManager().request(method, self.cluster.url + path + tail, body=data, headers=headers)

    def run(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.batch.create_namespaced_job("default", manifest)
        return self.ended(manifest["metadata"]["name"])

    def ended(self, name: str) -> dict[str, Any]:
        """The status of a Job once it is over."""

        def look() -> dict[str, Any] | None:
            status = (self.cluster.get("jobs", name) or {}).get("status", {})
            over = any(one["type"] in ("Complete", "Failed") for one in status.get("conditions") or [])
            return status if over else None

        return until(look, what=f"the end of {name}")

    def pods(self, name: str) -> list[dict[str, Any]]:
        return [
            pod for pod in self.cluster.all("pods") if (pod["metadata"].get("labels") or {}).get("job-name") == name
        ]

    def log(self, job: str) -> str:
        return self.core.read_namespaced_pod_log(self.pods(job)[0]["metadata"]["name"], "default")


@contextlib.contextmanager
def clients(version: str = "1.31", nodes: Any = 1, **options: Any) -> Iterator[Clients]:
    with FakeCluster(version, nodes, **options) as cluster:
        yield Clients(cluster)
        assert cluster.problems == []


@pytest.fixture(params=["1.20", "1.31"])
def k(request) -> Iterator[Clients]:
    with clients(request.param) as found:
        yield found


@pytest.fixture
def new() -> Iterator[Clients]:
    with clients() as found:
        yield found


@pytest.fixture
def old() -> Iterator[Clients]:
    with clients("1.20") as found:
        yield found


def pod(*command: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "m", "image": IMAGE, "command": list(command or ("true",)), **spec.pop("container", {})}
    return {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **spec}


def job(name: str, *command: str, pod_spec: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    template = {"spec": pod_spec or pod(*command)}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, **spec, "template": template}}


def refused(call: Any, *args: Any, **options: Any) -> dict[str, Any]:
    """The Status that a call is refused with."""
    with pytest.raises(ApiException) as caught:
        call(*args, **options)
    body = json.loads(caught.value.body)
    assert (body["kind"], body["apiVersion"], body["status"], body["code"]) == (
        "Status",
        "v1",
        "Failure",
        caught.value.status,
    )
    return body


def condition(status: dict[str, Any], sort: str) -> dict[str, Any]:
    return next(one for one in status["conditions"] if one["type"] == sort)


# Discovery, versions.


def test_the_server_says_its_version_and_kinds(k):
    assert client.VersionApi(k.api).get_code().minor == k.cluster.version.split(".")[1]
    groups = {
        group.name: [one.version for one in group.versions] for group in client.ApisApi(k.api).get_api_versions().groups
    }
    assert groups["batch"] == (["v1"] if k.cluster.version == "1.31" else ["v1", "v1beta1"])
    kinds = {one.name for one in k.batch.get_api_resources().resources}
    assert ("cronjobs" in kinds) is (k.cluster.version == "1.31")
    assert "pods/log" in {one.name for one in k.core.get_api_resources().resources}


def test_what_an_old_server_does_not_know_it_drops_without_a_word(old):
    manifest = job("a", completionMode="Indexed", suspend=True, completions=2, ttlSecondsAfterFinished=0)
    made = old.batch.create_namespaced_job("default", manifest)
    assert (made.spec.completion_mode, made.spec.suspend, made.spec.ttl_seconds_after_finished) == (None, None, None)
    answer = old.raw("POST", JOBS, job("b", nonsense=1), fieldValidation="Strict")
    assert (answer.status, "nonsense" in answer.json()["spec"], "Warning" in answer.headers) == (201, False, False)
    assert old.ended("a")["succeeded"] == 2


def test_a_new_server_refuses_unknown_fields_when_asked_and_warns_of_them_else(new):
    answer = new.raw("POST", JOBS, job("a", nonsense=1), fieldValidation="Strict")
    assert (answer.status, answer.json()["reason"]) == (400, "BadRequest")
    assert answer.json()["message"].endswith('strict decoding error: unknown field "spec.nonsense"')
    answer = new.raw("POST", JOBS, job("a", nonsense=1))
    assert (answer.status, answer.headers["Warning"]) == (201, '299 - "unknown field \\"spec.nonsense\\""')
    answer = new.raw("POST", JOBS, job("b", parallelism="2"))
    text = "json: cannot unmarshal string into Go struct field Job.spec.parallelism of type int32"
    assert (answer.status, answer.json()["message"].endswith(text)) == (400, True)


def test_the_labels_of_pods_follow_the_version(k):
    made = k.batch.create_namespaced_job("default", job("a"))
    uid = made.metadata.uid
    labels = {"controller-uid": uid, "job-name": "a"}
    key = "controller-uid"
    if k.cluster.version == "1.31":
        labels |= {f"batch.kubernetes.io/{name}": value for name, value in labels.items()}
        key = "batch.kubernetes.io/controller-uid"
    assert made.spec.template.metadata.labels == labels
    assert made.spec.selector.match_labels == {key: uid}
    k.ended("a")


# Refusals.


def test_the_same_name_again_is_a_conflict(k):
    k.batch.create_namespaced_job("default", job("a"))
    assert refused(k.batch.create_namespaced_job, "default", job("a")) == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409,
        "message": 'jobs.batch "a" already exists', "reason": "AlreadyExists",
        "details": {"name": "a", "group": "batch", "kind": "jobs"},
    }  # fmt: skip


def test_an_old_resource_version_is_a_conflict(k):
    made = k.core.create_namespaced_config_map("default", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    k.core.patch_namespaced_config_map("c", "default", {"data": {"a": "2"}})
    body = refused(k.core.replace_namespaced_config_map, "c", "default", made)
    assert (body["code"], body["reason"]) == (409, "Conflict")
    assert body["message"] == (
        'Operation cannot be fulfilled on configmaps "c": the object has been modified; please apply your changes to '
        "the latest version and try again"
    )


def test_what_is_not_there_is_not_found(k):
    assert refused(k.batch.read_namespaced_job, "x", "default")["message"] == 'jobs.batch "x" not found'
    assert (
        refused(k.core.create_namespaced_secret, "nowhere", {"metadata": {"name": "s"}})["message"]
        == 'namespaces "nowhere" not found'
    )
    answer = k.raw("GET", "/apis/batch/v7/jobs")
    assert (answer.status, answer.data) == (404, b"404 page not found\n")


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"containers": []}, "containers", "Required value"),
        ({"volumes": [{"name": "v", "emptyDir": {}}] * 2}, "volumes[1].name", 'Duplicate value: "v"'),
        ({"volumes": [{"name": "v"}]}, "volumes[0]", "Required value: must specify a volume type"),
        ({"image": ""}, "containers[0].image", "Required value"),
        ({"volumeMounts": [{"name": "no", "mountPath": "/a"}]}, "containers[0].volumeMounts[0].name", 'Not found: "no"'),
        (
            {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}},
            "containers[0].resources.requests", 'Invalid value: "2": must be less than or equal to cpu limit',
        ),
        ({"resources": {"limits": {"nvidia.com/gpu": "500m"}}}, "containers[0].resources.limits[nvidia.com/gpu]",
         'Invalid value: "500m": must be an integer'),
        ({"env": [{"value": "1"}]}, "containers[0].env[0].name", "Required value"),
    ],
)  # fmt: skip
def test_faults_of_a_pod_are_told_by_field(k, change, field, message):
    inner = set(change) & {"image", "volumeMounts", "resources", "env"}
    spec = pod(container=change) if inner else pod(**change)
    body = k.raw("POST", JOBS, job("a", pod_spec=spec)).json()
    assert (body["code"], body["reason"]) == (422, "Invalid")
    assert {**body["details"], "causes": []} == {"name": "a", "group": "batch", "kind": "Job", "causes": []}
    assert {"field": f"spec.template.spec.{field}", "message": message} in [
        {"field": one["field"], "message": one["message"].removesuffix(" of 1")} for one in body["details"]["causes"]
    ]
    assert body["message"].startswith('Job.batch "a" is invalid: ')


def test_a_bad_name_and_a_bad_restart_policy_are_told_together(new):
    body = refused(new.batch.create_namespaced_job, "default", job("Bad_Name-", pod_spec=pod(restartPolicy="Always")))
    assert [one["field"] for one in body["details"]["causes"]] == [
        "metadata.name", *["spec.template.labels"] * (2 if new.cluster.version == "1.31" else 1),
        "spec.template.spec.restartPolicy",
    ]  # fmt: skip
    assert 'Required value: valid values: "OnFailure", "Never"' in body["message"]
    assert "a lowercase RFC 1123 subdomain must consist of" in body["message"]


def test_a_quantity_that_is_none_is_a_bad_request(k):
    spec = pod(container={"resources": {"limits": {"memory": "lots"}}})
    body = refused(k.batch.create_namespaced_job, "default", job("a", pod_spec=spec))
    assert (body["code"], body["reason"]) == (400, "BadRequest")
    assert "quantities must match the regular expression" in body["message"]


def test_the_template_and_selector_of_a_job_cannot_change(k):
    k.batch.create_namespaced_job("default", job("a", parallelism=0))
    change = {"spec": {"template": {"spec": {"containers": [{"name": "m", "image": "busybox:1.36"}]}}}}
    body = refused(k.batch.patch_namespaced_job, "a", "default", change)
    assert [(one["field"], one["message"].endswith("field is immutable")) for one in body["details"]["causes"]] == [
        ("spec.template", True)
    ]
    assert (
        k.batch.patch_namespaced_job(
            "a", "default", {"spec": {"activeDeadlineSeconds": 9}}
        ).spec.active_deadline_seconds
        == 9
    )


def test_too_large_a_configmap_and_too_large_a_request_are_refused(k):
    body = refused(
        k.core.create_namespaced_config_map,
        "default",
        {"metadata": {"name": "c"}, "data": {"a": "x" * (1 << 20) + "x"}},
    )
    assert (body["code"], body["details"]["causes"][0]["reason"]) == (422, "FieldValueTooLong")
    body = refused(
        k.core.create_namespaced_config_map, "default", {"metadata": {"name": "c"}, "data": {"a": "x" * (4 << 20)}}
    )
    assert (body["code"], body["reason"]) == (413, "RequestEntityTooLarge")


def test_a_dry_run_checks_and_keeps_nothing(k):
    assert k.batch.create_namespaced_job("default", job("a"), dry_run="All").metadata.uid
    assert k.cluster.objects() == {}
    assert (
        refused(k.batch.create_namespaced_job, "default", job("a", pod_spec=pod(containers=[])), dry_run="All")["code"]
        == 422
    )


# Lists, watches, patches.


def configmap(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}


def test_pages_of_a_list_show_one_moment_and_expire(k):
    for at in range(5):
        k.core.create_namespaced_config_map("default", configmap(f"c{at}", mine="yes"))
    first = k.core.list_namespaced_config_map("default", label_selector="mine=yes", limit=2)
    k.core.delete_namespaced_config_map("c3", "default")
    k.core.create_namespaced_config_map("default", configmap("c5", mine="yes"))
    token = first.metadata._continue
    rest = k.core.list_namespaced_config_map("default", label_selector="mine=yes", _continue=token)
    assert [one.metadata.name for one in [*first.items, *rest.items]] == ["c0", "c1", "c2", "c3", "c4"]
    k.cluster.compact()
    body = refused(k.core.list_namespaced_config_map, "default", label_selector="mine=yes", _continue=token)
    assert (body["code"], body["reason"]) == (410, "Expired")
    again = k.core.list_namespaced_config_map(
        "default", label_selector="mine=yes", _continue=body["metadata"]["continue"]
    )
    assert [one.metadata.name for one in again.items] == ["c2", "c4", "c5"]


def test_selectors_choose(k):
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2", "y": ""}), ("c", {})):
        k.core.create_namespaced_config_map("default", configmap(name, **labels))

    def names(**selector: str) -> str:
        found = k.core.list_namespaced_config_map("default", **selector).items
        return "".join(one.metadata.name for one in found if len(one.metadata.name) == 1)

    assert names(label_selector="x in (1,2)") == "ab"
    assert names(label_selector="x!=1") == "bc"
    assert names(label_selector="!x") == "c"
    assert names(label_selector="x,y") == "b"
    assert names(field_selector="metadata.name=c") == "c"
    assert (
        '"data.a" is not a known field selector'
        in refused(k.core.list_namespaced_config_map, "default", field_selector="data.a=1")["message"]
    )


def test_a_watch_tells_what_happens_from_a_revision_on_and_through_its_selector(k):
    since = k.core.list_namespaced_config_map("default").metadata.resource_version
    k.core.create_namespaced_config_map("default", configmap("a", mine="yes"))
    k.core.create_namespaced_config_map("default", configmap("b"))
    k.core.patch_namespaced_config_map("a", "default", {"data": {"a": "2"}})
    k.core.patch_namespaced_config_map("a", "default", {"metadata": {"labels": {"mine": "no"}}})
    k.core.delete_namespaced_config_map("a", "default")
    stream = watch.Watch().stream(
        k.core.list_namespaced_config_map, "default", resource_version=since, label_selector="mine=yes", timeout_seconds=1,
    )  # fmt: skip
    seen = [(event["type"], event["object"].metadata.name) for event in stream]
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_a_watch_from_a_compacted_revision_is_gone_and_an_open_one_goes_on(k):
    k.core.create_namespaced_config_map("default", configmap("a"))
    opened, told = threading.Event(), []

    def look() -> None:
        for event in watch.Watch().stream(k.core.list_namespaced_config_map, "default", timeout_seconds=20):
            told.append(event["object"].metadata.name)
            opened.set()
            if event["object"].metadata.name == "b":
                return

    thread = threading.Thread(target=look)
    thread.start()
    assert opened.wait(10)
    k.cluster.compact()
    with pytest.raises(ApiException) as caught:
        list(
            watch.Watch().stream(k.core.list_namespaced_config_map, "default", resource_version="1", timeout_seconds=5)
        )
    assert caught.value.status == 410
    assert "too old resource version: 1 (" in caught.value.reason
    Clients(k.cluster).core.create_namespaced_config_map("default", configmap("b"))
    thread.join(10)
    assert told[-1] == "b"


def test_bookmarks_come_when_asked_for(new):
    stream = watch.Watch().stream(
        new.core.list_namespaced_config_map, "default", timeout_seconds=1, allow_watch_bookmarks=True
    )
    assert [event["type"] for event in stream][-1] == "BOOKMARK"


def test_the_three_patches_differ_in_lists(k):
    k.batch.create_namespaced_job("default", job("a", parallelism=0))
    k.batch.patch_namespaced_job("a", "default", [{"op": "add", "path": "/metadata/annotations", "value": {"x": "1"}}])
    k.batch.patch_namespaced_job("a", "default", {"metadata": {"annotations": {"y": "2"}}})
    merged = k.batch.patch_namespaced_job(
        "a", "default", {"metadata": {"annotations": {"x": None}}}, _content_type="application/merge-patch+json"
    )
    assert merged.metadata.annotations == {"y": "2"}
    body = refused(
        k.batch.patch_namespaced_job, "a", "default", [{"op": "test", "path": "/metadata/name", "value": "b"}]
    )
    assert body["code"] == 422
    body = refused(
        k.batch.patch_namespaced_job, "a", "default", {"spec": {"template": {"spec": {"containers": []}}}},
        _content_type="application/merge-patch+json",
    )  # fmt: skip
    assert any(one["field"] == "spec.template.spec.containers" for one in body["details"]["causes"])


# Deletion.


def test_a_deleted_job_leaves_its_pods_unless_told_otherwise(k):
    for name, policy, left in (("a", None, {"pods": 1}), ("b", "Background", {}), ("c", "Foreground", {})):
        k.run(job(name))
        options = {"propagation_policy": policy} if policy else {}
        k.batch.delete_namespaced_job(name, "default", **options)
        until(lambda left=left: k.cluster.objects() == left, what=f"only {left} left of {name}")
        k.core.delete_collection_namespaced_pod("default")
        until(lambda: k.cluster.objects() == {})


def test_a_deletion_with_another_uid_is_a_conflict(k):
    k.batch.create_namespaced_job("default", job("a", parallelism=0))
    body = refused(k.batch.delete_namespaced_job, "a", "default", body={"preconditions": {"uid": "other"}})
    assert body["message"].startswith(
        'Operation cannot be fulfilled on Job.batch "a": the UID in the precondition (other) does not match'
    )


def test_a_namespace_takes_all_that_is_in_it_along(k):
    k.core.create_namespace({"metadata": {"name": "lab"}})
    k.core.create_namespaced_secret("lab", {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    k.batch.create_namespaced_job("lab", job("a", "sleep", "60"))
    k.core.delete_namespace("lab")
    body = refused(k.core.create_namespaced_secret, "lab", {"metadata": {"name": "late"}})
    assert (body["code"], body["details"].get("causes", [{}])[0].get("reason")) in (
        (403, "NamespaceTerminating"),
        (404, None),
    )
    until(lambda: k.cluster.get("namespaces", "lab") is None, what="the end of the namespace")
    assert k.cluster.objects() == {}


# Jobs and what they run.


def test_a_job_runs_its_command_and_ends(k):
    status = k.run(job("a", "sh", "-c", "echo out; echo err >&2; echo $HOSTNAME"))
    assert (status["succeeded"], condition(status, "Complete")["status"]) == (1, "True")
    late = k.cluster.version == "1.31"
    assert [one["type"] for one in status["conditions"]] == (
        ["SuccessCriteriaMet", "Complete"] if late else ["Complete"]
    )
    name = k.pods("a")[0]["metadata"]["name"]
    assert sorted(k.log("a").split()) == sorted(["out", "err", name])
    assert k.cluster.get("pods", name)["status"]["phase"] == "Succeeded"


def test_a_failing_job_is_tried_again_up_to_its_limit(k):
    status = k.run(job("a", "sh", "-c", "exit 3", backoffLimit=2))
    assert status["failed"] == 3
    failed = condition(status, "Failed")
    assert (failed["reason"], failed["message"]) == (
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    )
    ends = [pod["status"]["containerStatuses"][0]["state"]["terminated"] for pod in k.pods("a")]
    assert [(one["exitCode"], one["reason"]) for one in ends] == [(3, "Error")] * 3


def test_more_memory_than_the_limit_is_killed_for(k):
    spec = pod(
        "python3",
        "-c",
        "x = bytearray(200 << 20); print(len(x))",
        container={"resources": {"limits": {"memory": "64Mi"}}},
    )
    k.run(job("a", pod_spec=spec))
    ended = k.pods("a")[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_job_over_its_deadline_is_failed_and_its_pod_killed(k):
    status = k.run(job("a", "sleep", "60", activeDeadlineSeconds=1))
    assert condition(status, "Failed")["reason"] == "DeadlineExceeded"
    until(lambda: not any(pod["status"]["phase"] == "Running" for pod in k.pods("a")), what="no pod running")


def test_parallelism_bounds_what_runs_at_once(k):
    status = k.run(job("a", "true", completions=7, parallelism=3))
    assert (status["succeeded"], len(k.pods("a"))) == (7, 7)


def test_an_indexed_job_runs_every_index_and_says_which_are_done(new):
    script = 'echo $JOB_COMPLETION_INDEX $HOSTNAME; [ "$JOB_COMPLETION_INDEX" != 2 ]'
    manifest = job(
        "a", "sh", "-c", script, completions=4, parallelism=4, completionMode="Indexed", backoffLimitPerIndex=1
    )
    del manifest["spec"]["backoffLimit"]
    status = new.run(manifest)
    assert (status["completedIndexes"], status["failedIndexes"], status["succeeded"], status["failed"]) == (
        "0-1,3",
        "2",
        3,
        2,
    )
    assert condition(status, "Failed")["reason"] == "FailedIndexes"
    found = new.pods("a")
    key = "batch.kubernetes.io/job-completion-index"
    assert sorted(one["metadata"]["annotations"][key] for one in found) == ["0", "1", "2", "2", "3"]
    third = next(one for one in found if one["metadata"]["labels"][key] == "3")
    assert new.core.read_namespaced_pod_log(third["metadata"]["name"], "default") == "3 a-3\n"


def test_a_suspended_job_waits_and_can_be_suspended_while_it_runs(new):
    new.batch.create_namespaced_job("default", job("a", "sleep", "60", suspend=True))
    until(lambda: new.cluster.get("jobs", "a")["status"].get("conditions"))
    assert new.pods("a") == []
    new.batch.patch_namespaced_job("a", "default", {"spec": {"suspend": False}})
    until(lambda: [one["status"]["phase"] for one in new.pods("a")] == ["Running"])
    new.batch.patch_namespaced_job("a", "default", {"spec": {"suspend": True}})
    until(lambda: new.pods("a") == [], what="no pods of a suspended job")
    assert condition(new.cluster.get("jobs", "a")["status"], "Suspended")["reason"] == "JobSuspended"


def test_a_finished_job_goes_when_its_time_is_over(new):
    new.batch.create_namespaced_job("default", job("a", "true", ttlSecondsAfterFinished=0))
    until(lambda: new.cluster.objects() == {}, what="the finished job gone")


def test_a_cronjob_makes_jobs_where_the_version_serves_it(new):
    template = {"spec": {"template": {"spec": pod("true")}}}
    new.batch.create_namespaced_cron_job(
        "default", {"metadata": {"name": "c"}, "spec": {"schedule": "0 0 1 1 *", "jobTemplate": template}}
    )
    name = new.cluster.fire("c")
    assert re.fullmatch(r"c-\d{8}", name)
    new.ended(name)
    body = refused(
        new.batch.create_namespaced_cron_job,
        "default",
        {"metadata": {"name": "d"}, "spec": {"schedule": "often", "jobTemplate": template}},
    )
    assert body["details"]["causes"][0]["field"] == "spec.schedule"
    new.batch.delete_namespaced_cron_job("c", "default")
    until(lambda: new.cluster.objects() == {}, what="nothing left of the cron job")


# Pods: volumes, environment, images, logs, nodes.


def test_volumes_and_environment_are_those_of_the_manifest(k, tmp_path):
    (tmp_path / "host").write_text("from the host")
    k.core.create_namespaced_config_map(
        "default", {"metadata": {"name": "c"}, "data": {"a.txt": "text", "NAME": "ada"}}
    )
    k.core.create_namespaced_secret("default", {"metadata": {"name": "s"}, "stringData": {"key": "hush"}})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    k.core.create_namespaced_persistent_volume_claim("default", {"metadata": {"name": "p"}, "spec": claim})
    names = ("config", "secret", "host", "claim", "empty")
    script = (
        "cat /v/config/a.txt /v/secret/key /v/host/host; echo; echo $NAME $KEY $POD $NODE $MEMORY $(( 1 + 1 ));"
        "echo kept > /v/claim/out; echo back > /v/host/back; touch /v/empty/x; touch /v/config/x || echo read-only"
    )
    env = [
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['job-name']"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    spec = pod(
        "sh", "-c", script,
        container={
            "env": env, "envFrom": [{"configMapRef": {"name": "c"}}], "resources": {"limits": {"memory": "256Mi"}},
            "volumeMounts": [{"name": name, "mountPath": f"/v/{name}"} for name in names],
        },
        volumes=[
            {"name": "config", "configMap": {"name": "c"}}, {"name": "secret", "secret": {"secretName": "s"}},
            {"name": "host", "hostPath": {"path": str(tmp_path)}},
            {"name": "claim", "persistentVolumeClaim": {"claimName": "p"}}, {"name": "empty", "emptyDir": {}},
        ],
    )  # fmt: skip
    assert k.run(job("a", pod_spec=spec))["succeeded"] == 1
    text = k.log("a")
    assert "texthushfrom the host\nada hush a node-0 256 2\n" in text
    assert text.rstrip().endswith("read-only")
    assert (tmp_path / "back").read_text() == "back\n"
    claimed = pod("cat", "/p/out", container={"volumeMounts": [{"name": "p", "mountPath": "/p", "readOnly": True}]},
                  volumes=[{"name": "p", "persistentVolumeClaim": {"claimName": "p"}}])  # fmt: skip
    k.run(job("b", pod_spec=claimed))
    assert k.log("b") == "kept\n"


def test_without_a_sandbox_commands_run_all_the_same(tmp_path):
    with clients("1.31", plain=True) as k:
        spec = pod("sh", "-c", "cat /v/a; cat $WHERE/a; pwd", container={
            "env": [{"name": "WHERE", "value": "/v"}], "volumeMounts": [{"name": "c", "mountPath": "/v"}], "workingDir": "/v",
        }, volumes=[{"name": "c", "configMap": {"name": "c"}}])  # fmt: skip
        k.core.create_namespaced_config_map("default", {"metadata": {"name": "c"}, "data": {"a": "text\n"}})
        k.run(job("a", pod_spec=spec))
        assert k.log("a").splitlines()[:2] == ["text", "text"]
        limits = {"resources": {"limits": {"memory": "64Mi"}}}
        k.run(job("b", pod_spec=pod("python3", "-c", "print(len(bytearray(200 << 20)))", container=limits)))
        k.run(job("c", "no-such-program"))
        ends = [k.pods(name)[0]["status"]["containerStatuses"][0]["state"]["terminated"] for name in "bc"]
        assert [(one["reason"], one["exitCode"]) for one in ends] == [("OOMKilled", 137), ("StartError", 128)]
        k.core.create_namespaced_pod("default", {"metadata": {"name": "d"}, "spec": pod("sleep", "60")})
        until(lambda: k.cluster.get("pods", "d")["status"]["phase"] == "Running")
        k.core.delete_namespaced_pod("d", "default")
        until(lambda: k.cluster.get("pods", "d") is None, what="the end of a plain process")


async def test_memory_is_looked_after_where_there_are_no_groups(monkeypatch):
    monkeypatch.setattr(memory, "groups", lambda: None)
    limit = memory.MemoryLimit("x", 64 << 20)
    program = "x = bytearray(200 << 20)\nimport signal\nsignal.pause()"
    process = await asyncio.create_subprocess_exec(*limit.wrap([sys.executable, "-c", program]))
    limit.watch(process.pid)
    try:
        assert await asyncio.wait_for(process.wait(), 20) == -9
        assert limit.exceeded
    finally:
        limit.close()


def waiting(k: Clients, job_name: str, reason: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        for one in k.pods(job_name):
            for container in one["status"].get("containerStatuses") or []:
                state = container["state"].get("waiting") or {}
                if state.get("reason") == reason:
                    return state
        return None

    return until(look, what=f"{reason} of {job_name}")


def test_an_unknown_image_backs_off_until_it_is_there(k):
    k.batch.create_namespaced_job("default", job("a", pod_spec=pod(container={"image": "nobody/nothing:1"})))
    assert waiting(k, "a", "ImagePullBackOff")["message"] == 'Back-off pulling image "nobody/nothing:1"'
    name = k.pods("a")[0]["metadata"]["name"]
    assert "is waiting to start" in refused(k.core.read_namespaced_pod_log, name, "default")["message"]
    k.cluster.add_image("nobody/nothing:1", Image())
    assert k.ended("a")["succeeded"] == 1


def test_a_missing_secret_and_a_missing_program_are_told_apart(k):
    env = [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]
    k.batch.create_namespaced_job("default", job("a", pod_spec=pod(container={"env": env})))
    assert waiting(k, "a", "CreateContainerConfigError")["message"] == 'secret "none" not found'
    k.run(job("b", "no-such-program"))
    ended = k.pods("b")[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == (
        ("StartError", 128) if k.cluster.version == "1.31" else ("ContainerCannotRun", 127)
    )
    assert 'exec: "no-such-program": executable file not found in $PATH' in ended["message"]


def test_a_log_is_followed_cut_and_dated(k):
    script = "for i in 1 2 3; do echo line $i; done; while [ ! -e /go/on ]; do sleep 0.02; done; echo last"
    spec = pod("sh", "-c", script, container={"volumeMounts": [{"name": "go", "mountPath": "/go"}]},
               volumes=[{"name": "go", "persistentVolumeClaim": {"claimName": "go"}}])  # fmt: skip
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    k.core.create_namespaced_persistent_volume_claim("default", {"metadata": {"name": "go"}, "spec": claim})
    k.batch.create_namespaced_job("default", job("a", pod_spec=spec))
    until(lambda: [one["status"]["phase"] for one in k.pods("a")] == ["Running"])
    name = k.pods("a")[0]["metadata"]["name"]
    lines = k.core.read_namespaced_pod_log(name, "default", follow=True, _preload_content=False).stream()
    got = next(lines)
    folder = k.cluster.root / "claims" / k.cluster.get("persistentvolumeclaims", "go")["metadata"]["uid"]
    (folder / "on").touch()
    assert (got + b"".join(lines)).decode() == "line 1\nline 2\nline 3\nlast\n"
    assert k.core.read_namespaced_pod_log(name, "default", tail_lines=2) == "line 3\nlast\n"
    assert k.core.read_namespaced_pod_log(name, "default", limit_bytes=4) == "line"
    dated = k.core.read_namespaced_pod_log(name, "default", timestamps=True).splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (line \d|last)$", line) for line in dated)
    path = f"/api/v1/namespaces/default/pods/{name}/log"
    # Lines of the same second come again.
    second = dated[-1][:19]
    late = "".join(line.split(" ", 1)[1] + "\n" for line in dated if line[:19] >= second)
    assert k.raw("GET", path, sinceTime=dated[-1].split()[0]).data.decode() == late
    assert k.raw("GET", path, sinceTime="2036-01-01T00:00:00Z").data == b""
    assert (
        refused(k.core.read_namespaced_pod_log, name, "default", container="x")["message"]
        == f"container x is not valid for pod {name}"
    )


def test_what_no_node_holds_is_unschedulable_with_the_reasons():
    nodes = [
        Node("big", cpu="4", gpu=1),
        Node("own", cpu="64", taints=({"key": "team", "value": "x", "effect": "NoSchedule"},)),
    ]
    for version, text in (
        ("1.20", "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had taint {team: x}, that the pod didn't tolerate."),
        ("1.31", "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {team: x}. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."),
    ):  # fmt: skip
        with clients(version, nodes) as k:
            k.batch.create_namespaced_job(
                "default", job("a", pod_spec=pod(container={"resources": {"limits": {"cpu": "8"}}}))
            )
            told = until(lambda k=k: [one for found in k.pods("a") for one in found["status"].get("conditions") or []])[
                0
            ]
            assert (told["type"], told["reason"], told["message"]) == ("PodScheduled", "Unschedulable", text)
            tolerant = pod(
                container={"resources": {"limits": {"cpu": "8"}}}, tolerations=[{"key": "team", "operator": "Exists"}]
            )
            k.run(job("b", pod_spec=tolerant))
            assert k.pods("b")[0]["spec"]["nodeName"] == "own"


def test_pods_wait_for_room(new):
    spec = pod("sleep", "0.05", container={"resources": {"limits": {"cpu": "5"}}})
    status = new.run(job("a", pod_spec=spec, completions=3, parallelism=3))
    assert status["succeeded"] == 3


def test_a_deleted_pod_gets_term_then_kill(k):
    for name, trap, code in (("a", "trap 'echo bye; exit 0' TERM;", 0), ("b", "trap '' TERM;", 137)):
        script = f"{trap} echo ready; while true; do sleep 0.02; done"
        k.core.create_namespaced_pod("default", {"metadata": {"name": name}, "spec": pod("sh", "-c", script)})
        until(lambda name=name: k.cluster.get("pods", name)["status"]["phase"] == "Running")
        until(lambda name=name: "ready" in k.core.read_namespaced_pod_log(name, "default"))
        seen: list[Any] = []
        since = k.core.list_namespaced_pod("default").metadata.resource_version
        k.core.delete_namespaced_pod(name, "default")
        for event in watch.Watch().stream(
            k.core.list_namespaced_pod, "default", resource_version=since, timeout_seconds=10
        ):
            seen.append(event["object"])
            if event["type"] == "DELETED":
                break
        assert seen[-1].status.container_statuses[0].state.terminated.exit_code == code


def test_a_lost_node_is_told_and_its_job_goes_elsewhere():
    with clients("1.31", 2) as k:
        k.batch.create_namespaced_job("default", job("a", "sleep", "60", backoffLimit=3))
        first = until(lambda: next((one for one in k.pods("a") if one["status"]["phase"] == "Running"), None))
        node = first["spec"]["nodeName"]
        k.cluster.lose_node(node)
        ready = condition(k.cluster.get("nodes", node)["status"], "Ready")
        assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
        other = until(
            lambda: next((one for one in k.pods("a") if one["spec"].get("nodeName") not in (node, None)), None),
            what="a pod elsewhere",
        )
        assert other["metadata"]["uid"] != first["metadata"]["uid"]
        stuck = k.cluster.get("pods", first["metadata"]["name"])
        assert stuck["metadata"]["deletionTimestamp"]
        assert condition(stuck["status"], "DisruptionTarget")["reason"] == "DeletionByTaintManager"
        k.cluster.find_node(node)
        until(lambda: k.cluster.get("pods", first["metadata"]["name"]) is None, what="the lost pod gone")


def test_an_evicted_pod_says_so(k):
    k.batch.create_namespaced_job("default", job("a", "sleep", "60"))
    found = until(lambda: next((one for one in k.pods("a") if one["status"]["phase"] == "Running"), None))
    k.cluster.evict(found["metadata"]["name"])
    k.ended("a")
    status = k.pods("a")[0]["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert status["message"].startswith("The node was low on resource: memory.")


def test_init_containers_come_first_and_a_failing_one_ends_the_pod(k):
    first = {
        "name": "i",
        "image": IMAGE,
        "command": ["sh", "-c", "echo one > /s/a"],
        "volumeMounts": [{"name": "s", "mountPath": "/s"}],
    }
    main = {"volumeMounts": [{"name": "s", "mountPath": "/s"}]}
    volumes = [{"name": "s", "emptyDir": {}}]
    k.run(job("a", pod_spec=pod("cat", "/s/a", container=main, initContainers=[first], volumes=volumes)))
    assert k.log("a") == "one\n"
    k.run(job("b", pod_spec=pod(initContainers=[{"name": "i", "image": IMAGE, "command": ["false"]}])))
    status = k.pods("b")[0]["status"]
    assert (status["phase"], status["containerStatuses"][0]["state"]) == (
        "Failed",
        {"waiting": {"reason": "PodInitializing"}},
    )


def test_a_container_is_started_again_where_the_policy_says_so(k):
    script = "echo try; [ -e /s/second ] || { touch /s/second; exit 5; }"
    spec = pod("sh", "-c", script, container={"volumeMounts": [{"name": "s", "mountPath": "/s"}]}, restartPolicy="OnFailure",
               volumes=[{"name": "s", "emptyDir": {}}])  # fmt: skip
    k.run(job("a", pod_spec=spec, backoffLimit=4))
    found = k.pods("a")[0]
    status = found["status"]["containerStatuses"][0]
    assert (
        status["restartCount"],
        status["lastState"]["terminated"]["exitCode"],
        status["state"]["terminated"]["exitCode"],
    ) == (1, 5, 0)
    assert k.core.read_namespaced_pod_log(found["metadata"]["name"], "default", previous=True) == "try\n"


def test_who_may_run_and_what_may_be_written_follow_the_security_context(k):
    root = pod("true", securityContext={"runAsNonRoot": True})
    k.batch.create_namespaced_job("default", job("a", pod_spec=root))
    assert (
        "container has runAsNonRoot and image will run as root"
        in waiting(k, "a", "CreateContainerConfigError")["message"]
    )
    script = "id -u; touch /tmp/x || echo no /tmp; touch /x || echo no /; touch /s/x && echo yes /s"
    spec = pod("sh", "-c", script, securityContext={"runAsUser": 1234, "runAsNonRoot": True}, volumes=[{"name": "s", "emptyDir": {}}],
               container={"securityContext": {"readOnlyRootFilesystem": True}, "volumeMounts": [{"name": "s", "mountPath": "/s"}]})  # fmt: skip
    k.run(job("b", pod_spec=spec))
    lines = k.log("b").splitlines()
    assert [line for line in lines if not line.startswith("touch")] == ["1234", "no /tmp", "no /", "yes /s"]


def test_a_rule_of_the_pod_failure_policy_ends_the_job(new):
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    status = new.run(job("a", "sh", "-c", "exit 42", backoffLimit=5, podFailurePolicy={"rules": rules}))
    failed = condition(status, "Failed")
    assert (failed["reason"], status["failed"]) == ("PodFailurePolicy", 1)
    assert re.fullmatch(
        r"Container m for pod default/a-\w{5} failed with exit code 42 matching FailJob rule at index 0",
        failed["message"],
    )


def test_admission_refuses_pods_of_unknown_accounts_and_classes(k):
    for change, why in (
        (
            {"serviceAccountName": "none"},
            'error looking up service account default/none: serviceaccount "none" not found',
        ),
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
    ):
        body = refused(k.core.create_namespaced_pod, "default", {"metadata": {"name": "a"}, "spec": pod(**change)})
        assert (body["code"], body["message"]) == (403, f'pods "a" is forbidden: {why}')
    k.batch.create_namespaced_job("default", job("a", pod_spec=pod(serviceAccountName="none")))
    told_by = until(lambda: [one for one in k.cluster.all("events") if one["reason"] == "FailedCreate"])[0]
    assert told_by["message"].startswith('Error creating: pods "a-')


def test_what_runs_on_a_node_that_is_cut_off_is_told_when_it_is_back(new):
    new.batch.create_namespaced_job("default", job("a", "sleep", "0.3"))
    until(lambda: [one["status"]["phase"] for one in new.pods("a")] == ["Running"])
    new.cluster.lose_node("node-0", kill=False)
    name = new.pods("a")[0]["metadata"]["name"]
    assert "no route to host" in refused(new.core.read_namespaced_pod_log, name, "default")["message"]
    new.cluster.find_node("node-0")
    assert new.ended("a")["succeeded"] == 1


# Faults between client and server.


def test_an_answer_that_is_lost_was_carried_out_all_the_same(k):
    k.cluster.drop_answers(verb="create", kind="jobs")
    with pytest.raises(Exception, match=r"aborted|disconnected|reset|closed"):
        Clients(k.cluster).batch.create_namespaced_job("default", job("a", parallelism=0))
    assert k.cluster.objects() == {"jobs": 1}
    assert refused(k.batch.create_namespaced_job, "default", job("a"))["reason"] == "AlreadyExists"


def test_switches_refuse_fail_and_heal(k):
    k.cluster.fail(500, kind="jobs", count=1)
    assert refused(k.batch.list_namespaced_job, "default")["reason"] == "InternalError"
    k.cluster.forbid(verb="create", kind="jobs")
    assert refused(k.batch.create_namespaced_job, "default", job("a"))["message"] == (
        'jobs.batch is forbidden: User "system:serviceaccount:default:physlab" cannot create resource "jobs" in API group '
        '"batch" in the namespace "default"'
    )
    k.cluster.refuse_auth()
    assert refused(k.batch.list_namespaced_job, "default")["message"] == "Unauthorized"
    k.cluster.heal()
    assert k.batch.list_namespaced_job("default").items == []
    assert [(one.verb, one.code) for one in k.cluster.requests()] == [
        ("list", 500),
        ("create", 403),
        ("list", 401),
        ("list", 200),
    ]


def test_a_server_that_is_away_comes_back_with_what_it_had(k):
    k.batch.create_namespaced_job("default", job("a", "true"))
    k.cluster.down()
    with pytest.raises(Exception, match=r"refused|Max retries"):
        k.batch.list_namespaced_job("default")
    k.cluster.up()
    assert [one.metadata.name for one in k.batch.list_namespaced_job("default").items] == ["a"]
    k.ended("a")


def test_tls_is_trusted_by_its_own_authority():
    with clients(tls=True) as k:
        assert k.cluster.url.startswith("https://")
        assert k.core.list_namespace().items


async def test_a_cluster_can_be_entered_in_a_loop():
    async with FakeCluster("1.31") as cluster:
        assert cluster.objects() == {}


def test_of_many_jobs_none_is_lost(new):
    for at in range(200):
        new.batch.create_namespaced_job("default", job(f"j{at}", parallelism=0))
    assert new.cluster.objects() == {"jobs": 200}


# What a real server answered.


def recorder() -> Any:
    """`scripts/record-kubernetes-errors.py` as a module."""
    path = Path(__file__).parents[2] / "scripts" / "record-kubernetes-errors.py"
    spec = importlib.util.spec_from_file_location("record_kubernetes_errors", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def asked_as_recorded(version: str) -> Iterator[tuple[Any, Any]]:
    script = recorder()
    with clients(version) as k:
        talk = script.Recorder(str(k.cluster.kubeconfig), None)
        talk.send("POST", "/api/v1/namespaces", {"metadata": {"name": script.SPACE}})
        for method, path, body in script.BEFORE:
            assert talk.send(method, path, body)[0] == 201
        yield script, talk


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """What of a Status does not depend on the day: uids, revisions and Go's dump of an object left out."""
    details = answer.get("details") or {}
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID", answer.get("message", ""))
    text = re.sub(r"(Invalid value: )(core\.|v1\.|map\[|\{).*?(: field is immutable|: `selector`)", r"\1...\3", text)
    # Of a body that it cannot read an old server says at which byte, in words of its parser.
    text = re.sub(r"(cannot be handled as a \w+): .*", r"\1", text)
    text = re.sub(r'resource\.Quantity\{.*?s:("[^"]*"), Format:"\w+"\}', r"\1", text)
    return {
        "reason": answer.get("reason"), "code": answer.get("code"), "message": re.sub(r"current: \d+", "current: N", text),
        "about": {word: details.get(word) for word in ("name", "group", "kind")},
        "causes": [(one.get("reason"), one.get("field")) for one in details.get("causes") or []],
    }  # fmt: skip


RECORDED = [
    one
    for one in recorded.cases()
    if one.name not in ("old-continue", "old-watch") and "made_by" not in (one.body or {})
]


@pytest.mark.parametrize("version", sorted({one.minor for one in RECORDED}))
def test_refusals_are_those_of_the_recorded_server(version):
    with asked_as_recorded(version) as (_, talk):
        for case in (one for one in RECORDED if one.minor == version):
            code, answer = talk.send(case.method, case.path, case.body, case.content_type)
            assert (case.name, code, told(answer)) == (case.name, case.code, told(case.answer))


def test_what_is_too_old_is_told_as_by_the_recorded_server():
    real = {one.name: one for one in recorded.cases() if one.minor == "1.20"}
    with clients("1.20") as k:
        talk = recorder().Recorder(str(k.cluster.kubeconfig), None)
        maps = "/api/v1/namespaces/default/configmaps"
        for name in ("a", "b"):
            assert talk.send("POST", maps, configmap(name))[0] == 201
        _, page = talk.send("GET", f"{maps}?limit=1")
        talk.send("POST", maps, configmap("c"))
        k.cluster.compact()
        code, answer = talk.send("GET", f"{maps}?limit=1&continue={page['metadata']['continue']}")
        assert (code, told(answer)) == (410, told(real["old-continue"].answer))
        assert answer["metadata"].keys() == real["old-continue"].answer["metadata"].keys()
        code, answer = talk.send("GET", f"{maps}?watch=true&resourceVersion=1&timeoutSeconds=1")
        event = real["old-watch"].answer
        assert (code, answer["type"], answer["object"].keys()) == (200, "ERROR", event["object"].keys())
        assert [answer["object"][word] for word in ("code", "reason")] == [410, "Expired"]
        assert [event["object"][word] for word in ("code", "reason")] == [410, "Expired"]
        assert re.sub(r"\(\d+\)", "", answer["object"]["message"]) == re.sub(r"\(\d+\)", "", event["object"]["message"])


def test_the_recorder_writes_what_is_read_and_replayed(tmp_path):
    script = recorder()
    with clients("1.31") as k:
        talk = script.Recorder(str(k.cluster.kubeconfig), None)
        talk.send("POST", "/api/v1/namespaces", {"metadata": {"name": script.SPACE}})
        found = list(script.cases(talk, None))
        assert [one["name"] for one in found if one["code"] < 400] == ["old-watch"]
        (tmp_path / "v1.31.2.json").write_text(json.dumps({"server": "v1.31.2", "cases": found}))
        assert k.cluster.token not in (tmp_path / "v1.31.2.json").read_text()
        k.cluster.replay("job-already-exists", verb="list", folder=tmp_path)
        assert refused(k.batch.list_namespaced_job, "default")["message"] == 'jobs.batch "kept" already exists'
        assert k.batch.list_namespaced_job("default").items == []
