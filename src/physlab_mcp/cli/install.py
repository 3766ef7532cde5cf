"""`physlab install CLIENT`: connect an agent. Writes nothing without --write, and never touches other entries."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
import tomllib
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from physlab_mcp.cli.install_json import put_entry
from physlab_mcp.cli.opened import config_of, data_of
from physlab_mcp.errors import ConflictError, RequestError, UnavailableError

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output

NAME = "physlab"


class _Form(NamedTuple):
    """How a file is written: its byte order mark, if any, and its line ends."""

    mark: str
    line_end: str


_TABLE = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")


def install(args: Namespace, out: Output) -> int:
    """Print what belongs into the client's configuration, or write it there."""
    target = Path(args.file).expanduser().absolute() if args.file else usual_file(args.client)
    entry = http_entry(args) if args.http else server_entry(args)
    old, form = _read(target)
    new = merged(args.client, old, entry, target)
    fragment = merged(args.client, "", entry, target)
    body: dict[str, Any] = {
        "client": args.client,
        "file": str(target),
        "entry": entry,
        "written": False,
        "backup": None,
    }
    if args.http:
        out.note("This holds the server's token: keep the file to yourself and out of version control.")
    if not args.write:
        out.answer(body)
        out.note(f"Put this into {target}, or run the same command with --write:")
        out.say(fragment.rstrip())
        return 0
    if new != old:
        body["backup"] = _write(target, new, form, existed=bool(old), secret="url" in entry)
        body["written"] = True
    out.answer(body)
    out.say(f"{target} names physlab now." if body["written"] else f"{target} named physlab so already.")
    if body["backup"]:
        out.say(f"What stood there before: {body['backup']}")
    out.next(f"start {args.client} anew, and ask it to use physlab")
    return 0


def server_entry(args: Namespace) -> dict[str, Any]:
    """Command and arguments of the MCP server, all paths absolute."""
    from physlab_mcp.config import locate

    config_of(args)
    beside = Path(sys.executable).parent / ("physlab-mcp.exe" if sys.platform == "win32" else "physlab-mcp")
    found = str(beside) if beside.is_file() else shutil.which("physlab-mcp")
    command = [found] if found else [sys.executable, "-c", "from physlab_mcp.server import main; main()"]
    arguments = [*command[1:], "--data-dir", str(data_of(args).root)]
    config = locate(args.config)
    if config is not None:
        arguments += ["--config", str(config)]
    for root in args.root or [Path.cwd()]:
        arguments += ["--root", str(Path(root).expanduser().absolute())]
    return {"command": command[0], "args": arguments}


def http_entry(args: Namespace) -> dict[str, Any]:
    """Address and token of a server that runs by itself."""
    from physlab_mcp.server.http import http_token

    if args.client == "claude-desktop":
        raise RequestError(
            "The configuration file of claude-desktop takes no HTTP servers.", field="--http", got=args.http,
            remedy="Leave --http out.",
        )  # fmt: skip
    secret = config_of(args).auth.token
    token = secret.read() if secret is not None else http_token(data_of(args).create().http_token)
    return {"url": args.http, "headers": {"Authorization": f"Bearer {token}"}}


def usual_file(client: str) -> Path:
    """Where a client keeps its configuration on this system."""
    home = Path.home()
    if client == "claude-code":
        return Path.cwd() / ".mcp.json"
    if client == "vscode":
        return Path.cwd() / ".vscode" / "mcp.json"
    if client == "cursor":
        return home / ".cursor" / "mcp.json"
    if client == "codex":
        return Path(os.environ.get("CODEX_HOME", home / ".codex")) / "config.toml"
    if sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = Path(os.environ.get("APPDATA", home / "AppData" / "Roaming"))
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME", home / ".config"))
    return base / "Claude" / "claude_desktop_config.json"


def merged(client: str, old: str, entry: dict[str, Any], target: Path) -> str:
    """The client's configuration with our entry and everything else as it was.

    Raises:
        ConflictError: the file is not what it should be; it is left alone.

    """
    if client == "codex":
        return _merged_toml(old, entry, target)
    section = "servers" if client == "vscode" else "mcpServers"
    kind = {"type": "http" if "url" in entry else "stdio"} if client in ("vscode", "claude-code") else {}
    try:
        # Only VS Code's own format has comments; the others read plain JSON.
        return put_entry(old, section, NAME, {**kind, **entry}, comments=client == "vscode")
    except ValueError as error:
        raise _foreign(target, str(error)) from None


def _merged_toml(old: str, entry: dict[str, Any], target: Path) -> str:
    """Our table replaced or appended as text, so that comments and order of the rest stay."""
    try:
        before = tomllib.loads(old)
    except tomllib.TOMLDecodeError as error:
        raise _foreign(target, f"is not TOML ({error})") from None
    ours = f"mcp_servers.{NAME}"
    table = f"[{ours}]\n" + "".join(f"{key} = {value}\n" for key, value in _toml_values(entry))
    wanted = tomllib.loads(table)["mcp_servers"][NAME]
    servers = before.get("mcp_servers")
    if isinstance(servers, dict) and servers.get(NAME) == wanted:
        return old
    rest = "".join(_without_table(old, ours))
    lead = "" if not rest.strip() else rest.rstrip("\n") + "\n\n"
    new = lead + table
    try:
        after = tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        raise _foreign(target, f"names {ours} in a way that is not understood here") from None
    for body in (before, after):
        body.get("mcp_servers", {}).pop(NAME, None)
        if not body.get("mcp_servers", True):
            del body["mcp_servers"]
    if before != after:
        raise _foreign(target, f"names {ours} in a way that is not understood here")
    return new


def _without_table(text: str, name: str) -> Iterator[str]:
    """The lines outside of a table and its sub-tables; comments before the next table belong to that one."""
    inside = False
    loose: list[str] = []
    for line in text.splitlines(keepends=True):
        header = _TABLE.match(line)
        if header is not None:
            table = header.group(1).replace('"', "").replace(" ", "")
            inside = table == name or table.startswith(f"{name}.")
            if not inside:
                yield from loose
            loose = []
        if not inside:
            yield line
        elif not line.strip() or line.lstrip().startswith("#"):
            loose.append(line)
        else:
            loose = []


def _toml_values(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys and values as TOML; JSON strings are TOML strings, except for DEL, which no path or token has."""
    for key, value in entry.items():
        if isinstance(value, dict):
            pairs = ", ".join(f"{json.dumps(name)} = {json.dumps(one)}" for name, one in value.items())
            yield "http_headers", f"{{ {pairs} }}"
        else:
            yield key, json.dumps(value, ensure_ascii=False)


def _foreign(target: Path, what: str) -> ConflictError:
    return ConflictError(
        f"{target} {what}; it was left as it is.", got=str(target),
        remedy="Add the entry by hand: the same command without --write prints it (use --file with a new file).",
    )  # fmt: skip


def _read(target: Path) -> tuple[str, _Form]:
    """What the file holds, and how it is written."""
    try:
        with target.open(encoding="utf-8", newline="") as stream:
            text = stream.read()
    except FileNotFoundError:
        return "", _Form("", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(f"{target} cannot be read: {error}.", got=str(target), remedy="Mend it first.") from None
    form = _Form("\ufeff" if text.startswith("\ufeff") else "", "\r\n" if "\r\n" in text else "\n")
    return text.removeprefix("\ufeff").replace("\r\n", "\n"), form


def _write(target: Path, new: str, form: _Form, *, existed: bool, secret: bool) -> str | None:
    """Replace the file in one step (through a link, if it is one); the path of the copy of what stood there.

    What holds a `secret` is readable by its owner only.
    """
    target = target.resolve()
    backup = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if existed:
            backup = target.with_name(f"{target.name}.{time.strftime('%Y%m%dT%H%M%S')}.backup")
            shutil.copy2(target, backup)
        fd, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(fd, "w", encoding="utf-8", newline="") as stream:
            stream.write(form.mark + new.replace("\n", form.line_end))
        if existed and not secret:
            shutil.copymode(target, temporary)
        Path(temporary).replace(target)
    except OSError as error:
        raise UnavailableError(
            f"{target} cannot be written: {error.strerror}.",
            got=str(target),
            remedy="Mend its permissions, or use --file.",
        ) from None
    return str(backup) if backup else None
