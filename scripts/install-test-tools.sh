#!/bin/sh
# Installs what the tests use beside Python packages: Node 22 with the MCP inspector and conformance suite, in .tools/,
# and, as root on a machine with apt, bubblewrap, poppler-utils and Chromium. Running it again changes nothing.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
tools="$here/.tools"
node_version=22
inspector=2.12.0
conformance=0.2.0-alpha.12

missing=""
command -v bwrap >/dev/null 2>&1 || missing="$missing bubblewrap"
command -v pdftotext >/dev/null 2>&1 || missing="$missing poppler-utils"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -q
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
  else
    echo "Not root, or no apt: install$missing yourself; tests that need them are skipped." >&2
  fi
fi

if ! command -v npm >/dev/null 2>&1; then
  echo "npm is missing: install Node.js with npm first." >&2
  exit 1
fi
want="node@$node_version inspector@$inspector conformance@$conformance"
if [ -f "$tools/installed" ] && [ "$(cat "$tools/installed")" = "$want" ]; then
  echo "Already installed in $tools: $want"
  exit 0
fi
mkdir -p "$tools"
# The suites need Node 22 at install time too: under an older one npm silently picks an older inspector.
npm install --prefix "$tools" --no-audit --no-fund --silent "node@$node_version"
PATH="$tools/node_modules/node/bin:$PATH"
export PATH
npm install --prefix "$tools" --no-audit --no-fund --silent \
  "@modelcontextprotocol/inspector@$inspector" "@modelcontextprotocol/conformance@$conformance"
echo "$want" >"$tools/installed"
echo "Installed in $tools: $want ($(node --version))"
