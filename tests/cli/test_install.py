"""`physlab install`: what belongs into a client's configuration, and everything else as it was."""

import json
import tomllib
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

CLIENTS = ("claude-code", "claude-desktop", "cursor", "vscode", "codex")


def entry_in(client, path):
    if client == "codex":
        return tomllib.loads(path.read_text())["mcp_servers"]["physlab"]
    return json.loads(path.read_text())["servers" if client == "vscode" else "mcpServers"]["physlab"]


@pytest.mark.parametrize("client", CLIENTS)
def test_the_entry_is_printed_and_nothing_written(physlab, client):
    answer = physlab.here("--json", "install", client).json
    assert not Path(answer["file"]).exists()
    assert not answer["written"]


@pytest.mark.parametrize("client", CLIENTS)
def test_the_entry_is_written_with_absolute_paths(physlab, client):
    answer = physlab.here("--json", "install", client, "--write").json
    entry = entry_in(client, Path(answer["file"]))
    assert Path(answer["file"]).is_relative_to(physlab.folder)
    assert Path(entry["command"]).is_absolute()
    assert entry["args"][:2] == ["--data-dir", str(physlab.data)]
    assert entry["args"][2:] == ["--root", str(physlab.folder)]
    assert answer["backup"] is None


@pytest.mark.parametrize("client", CLIENTS)
def test_writing_twice_changes_nothing(physlab, client):
    physlab.here("install", client, "--write")
    assert physlab.here("--json", "install", client, "--write").json["written"] is False


def test_other_entries_of_a_json_file_stay_and_a_backup_is_kept(physlab):
    old = {"theme": "dark", "mcpServers": {"other": {"command": "x"}, "physlab": {"command": "old"}}}
    name = physlab.write("c.json", old)
    answer = physlab.here("--json", "install", "cursor", "--write", "--file", name).json
    new = json.loads(Path(name).read_text())
    assert new["theme"] == "dark"
    assert new["mcpServers"]["other"] == {"command": "x"}
    assert new["mcpServers"]["physlab"]["command"] != "old"
    assert json.loads(Path(answer["backup"]).read_text()) == old


def test_other_tables_comments_and_order_of_a_toml_file_stay(physlab):
    old = (
        '# mine\nmodel = "m"\n\n[mcp_servers.physlab]\ncommand = "old"\n\n[mcp_servers.physlab.env]\nA = "1"\n\n'
        '# theirs\n[mcp_servers.other]\ncommand = "x" # why\n'
    )
    name = physlab.write("c.toml", old)
    physlab.here("install", "codex", "--write", "--file", name)
    new = Path(name).read_text()
    assert new.startswith('# mine\nmodel = "m"\n')
    assert '# theirs\n[mcp_servers.other]\ncommand = "x" # why' in new
    assert set(tomllib.loads(new)["mcp_servers"]) == {"physlab", "other"}
    assert "env" not in tomllib.loads(new)["mcp_servers"]["physlab"]


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ("cursor", '{\n  // mine\n  "mcpServers": {}\n}'),
        ("vscode", '{\n  // mine\n  "servers": {}\n'),
        ("claude-desktop", '{"mcpServers": {"a": {},}}'),
        ("cursor", '{"mcpServers": []}'),
        ("cursor", "[1]"),
        ("codex", "= broken"),
        ("codex", 'mcp_servers = {physlab = {command = "x"}}'),
    ],
)
def test_a_file_that_is_not_understood_is_left_alone(physlab, client, text):
    name = physlab.write("c.conf", text)
    assert "left as it is" in physlab.here("install", client, "--write", "--file", name, code=1).err
    assert Path(name).read_text() == text
    assert [path.name for path in physlab.folder.glob("c.conf*")] == ["c.conf"]


def test_a_link_is_written_through(physlab):
    real = Path(physlab.write("dotfiles/real.json", {"mcpServers": {}}))
    link = physlab.folder / "link.json"
    link.symlink_to(real)
    physlab.here("install", "cursor", "--write", "--file", str(link))
    assert link.is_symlink()
    assert "physlab" in json.loads(real.read_text())["mcpServers"]


@pytest.mark.parametrize("client", ["claude-code", "cursor", "vscode", "codex"])
def test_a_server_over_http_is_named_with_its_token(physlab, client):
    answer = physlab.here("--json", "install", client, "--http", "--write").json
    entry = entry_in(client, Path(answer["file"]))
    token = (physlab.data / "http.token").read_text().strip()
    assert entry["url"] == "http://127.0.0.1:8765/mcp"
    assert entry["http_headers" if client == "codex" else "headers"] == {"Authorization": f"Bearer {token}"}
    assert Path(answer["file"]).stat().st_mode & 0o077 == 0


def test_claude_desktop_takes_no_http(physlab):
    assert "Leave --http out" in physlab.here("install", "claude-desktop", "--http", code=1).err


COMMENTED = """{
    // what this is for
    "inputs": [], /* none, so far */
    "servers": {
        "other": { "command": "x", "args": ["//", "/*"] }, // theirs
    },
}
"""


def test_comments_layout_and_trailing_commas_of_vscode_stay(physlab):
    name = physlab.write("mcp.json", COMMENTED)
    physlab.here("install", "vscode", "--write", "--file", name)
    new = Path(name).read_text()
    head, _, tail = COMMENTED.partition("    },\n}")
    assert new.startswith(head.rstrip("\n"))
    assert new.endswith(f"    }},\n}}{tail}")
    assert '\n        "physlab": {\n            "type": "stdio",\n' in new
    assert physlab.here("--json", "install", "vscode", "--write", "--file", name).json["written"] is False
    other = physlab.here("--json", "--root", str(physlab.data), "install", "vscode", "--write", "--file", name).json
    assert Path(name).read_text() == new.replace(str(physlab.folder), str(physlab.data))
    assert Path(other["backup"]).read_text() == new


@pytest.mark.parametrize(
    "old",
    ["{}", "{ }", '{"mcpServers": {}}', '{"mcpServers":{"a":{"command":"x"}}}', '{\n\t"x": [1, {"y": "}"}]\n}\n',
     '{"mcpServers": {"a": 1}, "z": {"mcpServers": {"physlab": 2}}}', '\ufeff{\r\n  "a": "ü"\r\n}\r\n'],
)  # fmt: skip
def test_any_layout_of_a_json_file_takes_the_entry_and_keeps_the_rest(physlab, old):
    path = physlab.folder / "c.json"
    path.write_bytes(old.encode())
    answer = physlab.here("--json", "install", "cursor", "--write", "--file", str(path)).json
    raw = path.read_bytes().decode()
    before, after = (json.loads(text.removeprefix("\ufeff")) for text in (old, raw))
    assert after["mcpServers"].pop("physlab") == answer["entry"]
    before.setdefault("mcpServers", {})
    assert after == before
    assert raw.startswith("\ufeff") == old.startswith("\ufeff")
    assert raw.count("\n") == raw.count("\r\n") or "\r" not in raw
    assert ("\r\n" in raw) == ("\r\n" in old)


def test_a_token_is_not_left_in_a_file_that_others_may_read(physlab):
    name = physlab.write("c.json", {"mcpServers": {}})
    Path(name).chmod(0o644)
    physlab.here("install", "cursor", "--http", "--write", "--file", name)
    assert Path(name).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("client", CLIENTS)
async def test_what_is_written_starts_a_server_that_lists_its_tools(physlab, client):
    file = physlab("--json", "install", client, "--write").json["file"]
    entry = entry_in(client, Path(file))
    wanted = StdioServerParameters(command=entry["command"], args=entry["args"], env={"HOME": str(physlab.folder)})
    with anyio.fail_after(60):
        async with Client(wanted) as found:
            names = [tool.name for tool in (await found.list_tools()).tools]
    assert "experiment_orchestrator" in names
