"""The section `backends.kubernetes`: what is taken, and what is refused with the name of the setting."""

import re
from pathlib import Path

import msgspec
import pytest
from tests.backends.kube_objects import FULL, PLAIN

from physlab_mcp.backends.kubernetes.settings import (
    SECTION,
    KubernetesSettings,
    ObjectStore,
    SecretKey,
    SecretSource,
    Security,
    Toleration,
    Volume,
    read_settings,
)
from physlab_mcp.errors import RequestError

PARTS = {
    "": KubernetesSettings, "tolerations": Toleration, "volumes": Volume, "env_from_secrets": SecretKey,
    "security": Security, "object_store": ObjectStore, "object_store.access_key": SecretSource,
}  # fmt: skip
STORE = FULL["object_store"]


def test_every_setting_may_be_left_out():
    settings = read_settings({})
    assert (settings.namespace, settings.backoff_limit, settings.security.read_only_root) == ("default", 0, True)
    assert settings.way_home() == "log"


def test_all_settings_together_are_taken():
    settings = read_settings(FULL)
    assert settings.volume("home").pvc == "lab-home"
    assert settings.volume("nothing") is None
    assert settings.tolerations[1].seconds == 30
    assert set(FULL) <= set(KubernetesSettings.__struct_fields__)


def test_how_files_come_home_follows_from_what_is_set():
    assert read_settings({**PLAIN, "object_store": STORE}).way_home() == "object_store"
    assert read_settings({**FULL, "results": "auto"}).way_home() == "volume"
    assert read_settings({**FULL, "results": "log"}).way_home() == "log"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"namspace": "x"}, "namspace"),
        ({"namespace": "Not_A_Name"}, "namespace"),
        ({"namespace": 3}, "namespace"),
        ({"namespace": "a" * 64}, "namespace"),
        ({"in_cluster": True, "context": "lab"}, "context"),
        ({"in_cluster": True, "kubeconfig": "/k"}, "kubeconfig"),
        ({"image": "two words"}, "image"),
        ({"image": "$(id)"}, "image"),
        ({"image_pull_policy": "Sometimes"}, "image_pull_policy"),
        ({"image_pull_secrets": ["UPPER"]}, "image_pull_secrets[0]"),
        ({"python": "python3 -c"}, "python"),
        ({"gpu_resource": "gpu"}, "gpu_resource"),
        ({"node_selector": {"a b": "c"}}, "node_selector.a b"),
        ({"gpu_node_selector": {"a": "c d"}}, "gpu_node_selector.a"),
        ({"tolerations": [{"operator": "Like"}]}, "tolerations[0].operator"),
        ({"tolerations": [{"operator": "Exists", "key": "a", "value": "b"}]}, "tolerations[0].value"),
        ({"tolerations": [{"value": "b"}]}, "tolerations[0].key"),
        ({"tolerations": [{"key": "a b", "operator": "Exists"}]}, "tolerations[0].key"),
        ({"tolerations": [{"key": "a", "seconds": 3}]}, "tolerations[0].seconds"),
        ({"default_memory": "-1Gi"}, "default_memory"),
        ({"work_size": "10 Gi"}, "work_size"),
        ({"env": {"A B": "c"}}, "env.A B"),
        ({"env": {"PHYSLAB_JOB_ID": "c"}}, "env.PHYSLAB_JOB_ID"),
        ({"env": {"DB_PASSWORD": "hunter2"}}, "env.DB_PASSWORD"),
        ({"env": {"AWS_SECRET_ACCESS_KEY": "x"}}, "env.AWS_SECRET_ACCESS_KEY"),
        ({"env": {"A": "\0"}}, "env.A"),
        ({"env": {"A": "1"}, "env_from_secrets": {"A": {"secret": "s", "key": "k"}}}, "env.A"),
        ({"env_from_secrets": {"A": {"secret": "s", "key": "a/b"}}}, "env_from_secrets[].key"),
        ({"env_from_secrets": {"A": "value"}}, "env_from_secrets[]"),
        ({"security": {"run_as_user": 0}}, "security.run_as_user"),
        ({"security": {"privileged": True}}, "security.privileged"),
        ({"ttl_s": 1}, "ttl_s"),
        ({"backoff_limit": -1}, "backoff_limit"),
        ({"array_size": 100_001}, "array_size"),
        ({"volumes": [{"name": "a", "target": "/a"}]}, "volumes[0]"),
        ({"volumes": [{"name": "a", "target": "/a", "pvc": "p", "secret": "s"}]}, "volumes[0]"),
        ({"volumes": [{"name": "physlab-work", "target": "/a", "pvc": "p"}]}, "volumes[0].name"),
        ({"volumes": [{"name": "a", "target": "/a", "pvc": "p"}] * 2}, "volumes[1].name"),
        (
            {"volumes": [{"name": "a", "target": "/a", "pvc": "p"}, {"name": "b", "target": "/a", "pvc": "p"}]},
            "volumes[1].target",
        ),
        ({"volumes": [{"name": "a", "target": "a", "pvc": "p"}]}, "volumes[0].target"),
        ({"volumes": [{"name": "a", "target": "/a/../etc", "pvc": "p"}]}, "volumes[0].target"),
        ({"volumes": [{"name": "a", "target": "/etc/ssl", "pvc": "p"}]}, "volumes[0].target"),
        ({"volumes": [{"name": "a", "target": "/physlab/work", "pvc": "p"}]}, "volumes[0].target"),
        ({"volumes": [{"name": "a", "target": "/$(HOME)", "pvc": "p"}]}, "volumes[0].target"),
        ({"volumes": [{"name": "a", "target": "/a", "host_path": "srv"}]}, "volumes[0].host_path"),
        ({"volumes": [{"name": "a", "target": "/a", "pvc": "p", "items": {"a": "b"}}]}, "volumes[0].items"),
        ({"volumes": [{"name": "a", "target": "/a", "secret": "p", "items": {"a": "../b"}}]}, "volumes[0].items.a"),
        ({"volumes": [{"name": "a", "target": "/a", "secret": "p", "readonly": False}]}, "volumes[0].readonly"),
        ({"results": "mail"}, "results"),
        ({"results": "volume"}, "results"),
        ({"results": "object_store"}, "results"),
        ({"results_volume": "nothing"}, "results_volume"),
        ({"volumes": [{"name": "a", "target": "/a", "pvc": "p"}], "results_volume": "a"}, "results_volume"),
        ({"object_store": {**STORE, "endpoint": "ftp://x"}}, "object_store.endpoint"),
        ({"object_store": {**STORE, "endpoint": "https://key:secret@x"}}, "object_store.endpoint"),
        ({"object_store": {**STORE, "secret_key": "hunter2"}}, "object_store.secret_key"),
        ({"object_store": {**STORE, "secret_key": {}}}, "object_store.secret_key"),
        ({"object_store": {**STORE, "secret_key": {"env": "A", "file": "b"}}}, "object_store.secret_key"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_by_name(changed, field):
    with pytest.raises(RequestError) as refused:
        read_settings({**PLAIN, **changed})
    assert refused.value.field == f"{SECTION}.{field}"
    assert field in refused.value.message
    assert refused.value.remedy


def test_a_misspelt_setting_gets_a_suggestion():
    with pytest.raises(RequestError, match="Did you mean 'namespace'"):
        read_settings({"namspace": "x"})


def test_a_refused_secret_is_not_repeated():
    for section in (
        {"env": {"API_TOKEN": "hunter2"}},
        {"env": "API_TOKEN=hunter2"},
        {"env_from_secrets": {"A": "hunter2"}},
        {"object_store": "hunter2"},
        {"object_store": {**STORE, "secret_key": "hunter2"}},
    ):
        with pytest.raises(RequestError) as refused:
            read_settings(section)
        assert "hunter2" not in str(refused.value.as_dict())


@pytest.mark.parametrize("part", PARTS.values(), ids=lambda part: part.__name__)
def test_every_setting_says_what_it_means(part):
    schema = msgspec.json.schema(part)["$defs"][part.__name__]
    assert set(schema["properties"]) == set(part.__struct_fields__)
    assert [name for name, told in schema["properties"].items() if not told.get("description")] == []


def test_the_table_in_the_documentation_names_every_setting_and_its_default():
    page = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    page = page.partition("\n## Settings\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*?) \|", page, re.MULTILINE))
    wanted = {}
    for prefix, part in PARTS.items():
        for field in msgspec.structs.fields(part):
            name = f"{prefix}.{field.name}".lstrip(".")
            wanted[name] = "needed" if field.required else f"`{shown(field)}`"
    assert rows == wanted


def shown(field):
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        return "{}"
    return msgspec.json.encode(value).decode()
