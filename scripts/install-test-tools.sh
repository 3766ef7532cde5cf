#!/bin/sh
# Installs what the tests use beside Python packages: Node 22 with the MCP inspector and conformance suite, in .tools/,
# and, as root on a machine with apt, bubblewrap, poppler-utils, Chromium, an SSH server and rsync. Running it again
# changes nothing.
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
[ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
command -v ssh-keygen >/dev/null 2>&1 || missing="$missing openssh-client"
command -v rsync >/dev/null 2>&1 || missing="$missing rsync"
command -v ip >/dev/null 2>&1 || [ -x /sbin/ip ] || missing="$missing iproute2"
if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    # Programs are wanted, not services: what is installed here starts nothing, now or at the next boot.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
      trap 'rm -f "$policy"' EXIT
      printf '#!/bin/sh\nexit 101\n' >"$policy"
      chmod 755 "$policy"
    fi
    apt-get update -q
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 $missing
    case "$missing" in
      *openssh-server*) if [ -d /run/systemd/system ]; then systemctl disable ssh.service ssh.socket || true; fi ;;
    esac
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
