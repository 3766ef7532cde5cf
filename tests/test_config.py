"""The configuration: strict, found in one order, every defect named with the way out."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from physlab_mcp import config
from physlab_mcp.backends.kubernetes.settings import KubernetesSettings
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.config import Config, load, locate, parse, schema, seconds_of
from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.paths import DataDir

ROOT = Path(__file__).parent.parent
CLUSTERS = {"slurm": ("SlurmSection", SlurmSettings), "kubernetes": ("KubernetesSection", KubernetesSettings)}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.delenv("PHYSLAB_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_shipped_file_is_valid_and_equals_the_built_in_settings():
    text = (ROOT / "server.config.json").read_text()
    jsonschema.validate(json.loads(text), schema())
    assert parse(text) == Config()


def test_the_shipped_file_has_every_section():
    assert set(json.loads((ROOT / "server.config.json").read_text())) == set(Config.model_fields)


def test_every_section_that_takes_settings_is_described():
    for name, section in schema()["$defs"].items():
        assert section.get("description"), name
        for key, value in section.get("properties", {}).items():
            assert value.get("description") or "$ref" in value, f"{name}.{key}"


def test_without_a_file_the_built_in_settings_count():
    assert locate() is None
    assert load() == Config()


def test_the_file_of_the_folder_counts_less_than_the_variable_and_that_less_than_the_option(tmp_path, monkeypatch):
    for name, level in (("server.config.json", "ERROR"), ("b.json", "WARNING"), ("c.json", "DEBUG")):
        (tmp_path / name).write_text(json.dumps({"logging": {"level": level}}))
    assert load().logging.level == "ERROR"
    monkeypatch.setenv("PHYSLAB_CONFIG", str(tmp_path / "b.json"))
    assert load().logging.level == "WARNING"
    assert load(tmp_path / "c.json").logging.level == "DEBUG"


def test_a_file_that_was_asked_for_must_exist(tmp_path):
    with pytest.raises(RequestError, match="no configuration file"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "field", "remedy"),
    [
        ('{"storag": {}}', "storag", "'storage'"),
        ('{"limits": {"allowed_root": []}}', "limits.allowed_root", "'allowed_roots'"),
        ('{"backends": {"local": {"worker": 1}}}', "backends.local.worker", "'workers'"),
        ('{"backends": {"slumr": {}}}', "backends.slumr", "'slurm'"),
        ('{"backends": {"slurm": {}}}', "backends.slurm", "schema"),
        (
            '{"backends": {"slurm": {"root": "/home/lab", "partiton": "long"}}}',
            "backends.slurm.partiton",
            "'partition'",
        ),
        ('{"backends": {"slurm": {"root": "/home/lab", "comands": "deny"}}}', "backends.slurm.comands", "'commands'"),
        ('{"backends": {"slurm": {"root": "/home/lab", "host": {"hots": "a"}}}}', "backends.slurm.host.host", "schema"),
        ('{"backends": {"kubernetes": {"imag": "lab:1"}}}', "backends.kubernetes.imag", "'image'"),
        ('{"backends": {"kubernetes": {"zzz": 1}}}', "backends.kubernetes.zzz", "namespace"),
        ('{"backends": {"k8s": {}}}', "backends.k8s", "kubernetes"),
        ('{"backends": {"slurm": {"root": "/home/lab", "host": {"host": "a"}}}}', "backends.slurm.host", "schema"),
        (
            '{"backends": {"slurm": {"root": "/home/lab", "host": {"host": "-oProxyCommand=x", "agent": true}}}}',
            "backends.slurm.host.host",
            "schema",
        ),
        ('{"placement": {"policy": "cheapest"}}', "placement.policy", "schema"),
        ('{"hub": {"model": "x"}}', "hub.model", "no settings yet"),
        ('{"planner": {"modle": "x"}}', "planner.modle", "'model'"),
        ('{"auth": {"token": "hunter2"}}', "auth.token", '"env"'),
        ('{"auth": {"token": {"env": "A", "file": "b"}}}', "auth.token", '"env"'),
        ('{"engine": {"lease_s": 0}}', "engine.lease_s", "schema"),
        ('{"storage": {"retention": "long"}}', "storage.retention", "schema"),
        ('{"limits": {}, "limits": {}}', "limits", "Keep one"),
    ],
)
def test_a_defect_names_its_place_and_the_way_out(text, field, remedy):
    with pytest.raises(RequestError) as caught:
        parse(text)
    assert caught.value.field == field
    assert remedy in (caught.value.remedy or "")


@pytest.mark.parametrize(
    "text",
    [
        '{"auth": {"token": "hunter2"}}',
        '{"backends": {"slurm": {"root": "/home/lab", "host": {"host": "login", "agent": true, "passphrase": "hunter2"}}}}',
        '{"backends": {"slurm": {"root": "/home/lab", "host": {"passphrase": "hunter2"}}}}',
        '{"backends": {"slurm": {"root": "/home/lab", "host": {"host": "a", "agent": true, "jump": [{"passphrase": "hunter2"}]}}}}',
        '{"backends": {"kubernetes": {"env": {"API_TOKEN": "hunter2"}}}}',
        '{"backends": {"kubernetes": {"object_store": {"endpoint": "https://s3", "bucket": "lab", "secret_key": "hunter2"}}}}',
    ],
)
def test_a_secret_written_out_is_not_repeated_in_the_error(text):
    with pytest.raises(RequestError) as caught:
        parse(text)
    assert "hunter2" not in json.dumps(caught.value.as_dict())


@pytest.mark.parametrize("name", sorted(CLUSTERS))
def test_the_schema_accepts_what_is_documented_for_a_cluster_and_names_every_setting(name, tmp_path):
    room, known = CLUSTERS[name]
    settings = schema()["$defs"][room]
    assert set(known.__struct_fields__) < set(settings["properties"])
    assert all(one.get("description") for one in settings["properties"].values())
    shown = [body for body in examples() if name in body.get("backends", {})]
    assert shown
    for body in shown:
        jsonschema.validate(body, schema())
        assert set(parse(json.dumps(body), folder=tmp_path).backends.names) == {"local", *body["backends"]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"backends": {name: {"nonsense": 1}}}, schema())


def examples():
    """The JSON snippets of the documentation that are configurations."""
    for page in sorted((ROOT / "docs").glob("*.md")):
        for skipped, text in re.findall(
            r"(<!-- not run[^\n]+\n)?^```json\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
        ):
            body = {} if skipped else json.loads(text)
            if isinstance(body, dict) and body.keys() <= Config.model_fields.keys():
                yield body


def test_the_schema_is_itself_valid():
    jsonschema.Draft202012Validator.check_schema(schema())


def test_a_cluster_runs_commands_of_agents_only_after_a_person_said_so():
    backends = parse('{"backends": {"slurm": {"root": "/home/lab"}, "kubernetes": {}}}').backends
    assert backends.policies == {"local": "allow", "slurm": "approve", "kubernetes": "approve"}


def test_every_defect_of_a_cluster_is_told_beside_the_others():
    with pytest.raises(RequestError) as caught:
        parse(
            '{"backends": {"slurm": {"root": "/home/lab", "poll_s": 0}, "kubernetes": {"imag": ""}}, "engine": {"lease_s": -1}}'
        )
    fields = [one["field"] for one in caught.value.details or []]
    assert sorted(fields) == ["backends.kubernetes.imag", "backends.slurm.poll_s", "engine.lease_s"]


def test_files_of_this_machine_that_a_cluster_needs_lie_beside_the_configuration(tmp_path):
    body = {
        "slurm": {"root": "/home/lab", "lock": "lock.txt", "host": {"host": "login", "keys": ["id"], "known_hosts": "hosts"}},
        "kubernetes": {"kubeconfig": "kube.yaml"},
    }  # fmt: skip
    found = parse(json.dumps({"backends": body}), folder=tmp_path).backends
    assert found.slurm is not None
    assert found.slurm.host is not None
    assert found.kubernetes is not None
    assert found.slurm.settings["lock"] == str(tmp_path / "lock.txt")
    assert (found.slurm.host.keys, found.slurm.host.known_hosts) == ((str(tmp_path / "id"),), str(tmp_path / "hosts"))
    assert found.kubernetes.settings["kubeconfig"] == str(tmp_path / "kube.yaml")


def test_broken_json_is_told_with_its_line():
    with pytest.raises(RequestError, match="line 2"):
        parse('{"engine":\n }')


def test_all_defects_are_told_at_once():
    with pytest.raises(RequestError) as caught:
        parse('{"x": 1, "engine": {"lease_s": -1}}')
    assert len(caught.value.details or []) == 2


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "c.json").write_text('{"limits": {"allowed_roots": ["data"]}, "storage": {"sqlite": "x.db"}}')
    loaded = load(folder / "c.json")
    assert loaded.limits.allowed_roots == (str(folder / "data"),)
    assert loaded.store_path(DataDir(tmp_path)) == folder / "x.db"
    assert Config().store_path(DataDir(tmp_path)) == tmp_path / "physlab.db"


def test_a_secret_is_read_from_the_environment_or_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("A_SECRET", "one")
    (tmp_path / "secret").write_text("two\n")
    assert config.Secret(env="A_SECRET").read() == "one"
    assert config.Secret(file=str(tmp_path / "secret")).read() == "two"
    with pytest.raises(UnavailableError):
        config.Secret(env="NOT_THERE").read()
    with pytest.raises(UnavailableError):
        config.Secret(file=str(tmp_path / "none")).read()


@pytest.mark.parametrize(
    ("age", "seconds"), [("90s", 90), ("2m", 120), ("12h", 43200), ("30d", 2592000), ("1w", 604800)]
)
def test_ages_have_a_number_and_a_unit(age, seconds):
    assert seconds_of(age) == seconds
