#!/bin/bash
# Builds a real kube-apiserver, kube-controller-manager and kube-scheduler from Debian's source package `kubernetes`, for
# the tests that `make test-kubernetes` runs, and prints the folder they are in. Needs root, apt and, the first time, 10 to
# 25 minutes and 4 GB of disk; nothing but Debian's archive is asked over the network. Again answers at once.
#
#   kubernetes-build.sh [where]      `where`: only print the folder; exit status 1 if nothing was built there yet
#
# KUBERNETES_CACHE: where the binaries are kept, ~/.cache/physlab-mcp/kubernetes unless set.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

suite=bookworm          # the last release of Debian whose package has the whole source and not kubectl alone
package=kubernetes
version=v1.20.2
go=1.19
programs=(kube-apiserver kube-controller-manager kube-scheduler)
cache=${KUBERNETES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/physlab-mcp/kubernetes}
ready=$cache/$version-2 # the number: to be raised where something is built otherwise than before

say() { printf '%s\n' "$*" >&2; }

built() {
  local program
  for program in "${programs[@]}"; do [ -x "$ready/$program" ] || return 1; done
}

install_tools() { # what builds and runs it, where it is missing
  local missing=() pair
  for pair in dpkg-source:dpkg-dev jq:jq rsync:rsync make:make gcc:gcc etcd:etcd-server openssl:openssl bwrap:bubblewrap \
    "/usr/lib/go-$go/bin/go:golang-$go-go"; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair#*:}")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    say "Not root, or no apt: install ${missing[*]} yourself."
    exit 1
  fi
  # Programs are wanted, not services: the package of etcd starts nothing.
  local policy=/usr/sbin/policy-rc.d
  if ! [ -e "$policy" ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 \
    "${missing[@]}" >&2
  if [ -d /run/systemd/system ] && [[ " ${missing[*]} " == *" etcd-server "* ]]; then
    systemctl disable etcd.service >&2 || true
  fi
  [ "$(trap -p EXIT)" = "" ] || rm -f "$policy"
  trap - EXIT
}

fetch() { # the source package, by a private list of sources: this machine's own stays as it is
  local mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg
  mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
  mkdir -p apt/lists/partial apt/cache/archives/partial
  echo "deb-src [signed-by=$keys] ${mirror:-http://deb.debian.org/debian} $suite main" >apt/sources.list
  cat >apt/apt.conf <<EOT
Dir::Etc::sourcelist "$PWD/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$PWD/apt/lists";
Dir::Cache "$PWD/apt/cache";
APT::Sandbox::User "root";
EOT
  APT_CONFIG=$PWD/apt/apt.conf apt-get update -q >&2
  APT_CONFIG=$PWD/apt/apt.conf apt-get source -q --download-only "$package" >&2
  dpkg-source -x "$package"_*.dsc source >&2
  # The reflect2 that it brings writes over foreign memory when maps are encoded, from Go 1.18 on: Debian's newer one.
  mkdir newer
  (cd newer && apt-get download -q golang-github-modern-go-reflect2-dev >&2 && dpkg-deb -x ./*.deb .)
  local old=source/vendor/github.com/modern-go/reflect2
  rm "$old"/*.go "$old"/*.s
  cp newer/usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} "$old"
}

build() { # in the current folder; the source brings everything that it needs
  cd source
  unset GOFLAGS
  export GOPATH=$PWD/.go GOCACHE=$work/go-cache HOME=$work/home GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0 \
    PATH=/usr/lib/go-$go/bin:$PATH KUBE_GIT_VERSION=$version KUBE_GIT_COMMIT=debian KUBE_GIT_TREE_STATE=clean
  mkdir -p .go/src/k8s.io "$HOME"
  ln -s ../../.. .go/src/k8s.io/kubernetes
  make WHAT="$(printf 'cmd/%s ' "${programs[@]}")" GOLDFLAGS="-s -w" >&2
}

keep() { # under the final name only when all of it is there
  local program
  mkdir -p "$ready"
  for program in "${programs[@]}"; do
    strip -o "$ready/.$program" "_output/local/bin/linux/$(dpkg --print-architecture)/$program"
  done
  [ "$("$ready/.kube-apiserver" --version)" = "Kubernetes $version" ] || { say "Not the version $version."; exit 1; }
  for program in "${programs[@]}"; do mv "$ready/.$program" "$ready/$program"; done
}

if [ "${1:-}" = where ]; then
  echo "$ready"
  built
  exit
fi
install_tools
if built; then
  echo "$ready"
  exit 0
fi
mkdir -p "$cache"
exec 9>"$cache/lock" # two builds at once: the second waits and finds it done
flock 9
if ! built; then
  started=$SECONDS
  work=$(mktemp -d "$cache/build.XXXXXX")
  trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
  trap 'exit 1' INT TERM HUP
  cd "$work"
  fetch
  build
  keep
  cd /
  say "Kubernetes $version built in $((SECONDS - started)) s."
fi
echo "$ready"
