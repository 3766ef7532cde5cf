#!/bin/sh
# Installs the real Slurm that the tests start by themselves (scripts/slurm-test-cluster.sh): as root, on a machine with
# apt. No daemon is started or enabled. Running it again changes nothing.
set -eu

PATH="$PATH:/usr/sbin:/sbin"
missing=""
for pair in sbatch:slurm-client slurmctld:slurmctld slurmd:slurmd slurmdbd:slurmdbd munged:munge \
  mariadbd:mariadb-server; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
if [ -z "$missing" ]; then
  echo "Already installed: $(slurmctld -V)"
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "Not root, or no apt: install$missing yourself; tests that need a real Slurm are skipped." >&2
  exit 0
fi

# Packages ask this program whether they may start their daemons.
policy=/usr/sbin/policy-rc.d
ours=""
if ! [ -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  ours=yes
fi
trap '[ -z "$ours" ] || rm -f "$policy"' EXIT
trap 'exit 1' INT TERM

apt-get update -q
# shellcheck disable=SC2086 # a list of package names
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 $missing
echo "Installed: $(slurmctld -V)"
