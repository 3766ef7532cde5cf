#!/bin/bash
# A real Slurm cluster for tests, on one machine and without systemd or control groups: munge, MariaDB, slurmdbd,
# slurmctld and several slurmd, all below one folder, with keys, sockets and ports of their own, so that several
# clusters can stand side by side. Needs root and what scripts/install-slurm.sh installs.
#
#   slurm-test-cluster.sh up ROOT [NODES=4] [PORT=17000] [NAME=physlab] [MEMORY]
#                                                  start it; prints the environment to use it
#   slurm-test-cluster.sh down ROOT                end everything that `up` started
#   slurm-test-cluster.sh user ROOT NAME...        let these system users submit (account physics, all QOS)
#   slurm-test-cluster.sh stop-controller ROOT     end slurmctld, which writes down what it knows
#   slurm-test-cluster.sh kill-controller ROOT     SIGKILL slurmctld       start-controller ROOT
#   slurm-test-cluster.sh kill-node ROOT NODE      SIGKILL slurmd and its jobs     start-node ROOT NODE
#
# The nodes are NAMEn1, NAMEn2, ... MEMORY: kernel (control groups keep the limits; the default where they can) or watched.
# A cluster takes the ports PORT and PORT+1 for its daemons and PORT+10+i for node i. ROOT must be reachable by every user
# (mode 755 along the way), since munge, MariaDB and Slurm run as users of their own.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf '%s\n' "$*" >&2; }

use() { # the settings that `up` wrote down
  root=$1
  [ -r "$root/settings" ] || { say "There is no cluster in $root."; exit 1; }
  # shellcheck disable=SC1091
  . "$root/settings"
  export SLURM_CONF=$root/etc/slurm.conf
}

wait_for() { # SECONDS WHAT COMMAND...: until the command succeeds
  local tries=$(($1 * 20)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { say "$what did not come up; see $root/log"; exit 1; }
    sleep 0.05
  done
}

as() { # USER COMMAND...
  local who=$1
  shift
  setpriv --reuid "$who" --regid "$who" --init-groups "$@"
}

start_munge() {
  head -c 128 /dev/urandom >"$root/munge/key"
  chown -R munge:munge "$root/munge" "$root/run/munge"
  chmod 400 "$root/munge/key"
  as munge munged --key-file="$root/munge/key" --socket="$root/run/munge/socket" --seed-file="$root/munge/seed" \
    --pid-file="$root/run/munge/munged.pid" --log-file="$root/munge/munged.log"
}

start_database() {
  # A MariaDB that starts removes what others have in the same folder for temporary tables, so each gets its own.
  # What the database promises about power losses is of no use here, and waiting for the disk is what takes its time.
  local plain=(--no-defaults --user=mysql --datadir="$root/db" --tmpdir="$root/run/database" --innodb-flush-method=nosync
    --innodb-log-file-size=8M --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0)
  chown mysql:mysql "$root/db" "$root/run/database"
  [ -d "$root/db/mysql" ] || mariadb-install-db "${plain[@]}" --auth-root-authentication-method=socket \
    --skip-test-db >"$root/log/database-made.log" 2>&1
  setsid mariadbd "${plain[@]}" --socket="$root/run/database/socket" --pid-file="$root/run/database/mariadbd.pid" \
    --skip-networking --innodb-lock-wait-timeout=900 >"$root/log/database.log" 2>&1 </dev/null &
  wait_for 60 MariaDB mariadb-admin --no-defaults -uroot -S "$root/run/database/socket" ping
  mariadb --no-defaults -uroot -S "$root/run/database/socket" -e "
    CREATE DATABASE IF NOT EXISTS accounting;
    CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED BY 'local';
    GRANT ALL ON accounting.* TO slurm@localhost;"
}

control_groups() { # whether version 1 of the memory controller is there and may be written
  mkdir "/sys/fs/cgroup/memory/slurm_${name}_try" 2>/dev/null && rmdir "/sys/fs/cgroup/memory/slurm_${name}_try"
}

memory_limits() {
  # The kernel ends what uses more than it asked for, and Slurm calls that OUT_OF_MEMORY. Without control groups Slurm looks
  # itself once a second, and calls it FAILED.
  if [ "$memory" = kernel ]; then
    echo TaskPlugin=task/cgroup
  else
    printf 'TaskPlugin=task/none\nJobAcctGatherParams=OverMemoryKill\n'
  fi
}

write_configuration() {
  cat >"$root/etc/slurmdbd.conf" <<END
AuthType=auth/munge
AuthInfo=socket=$root/run/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((port + 1))
SlurmUser=slurm
PidFile=$root/run/slurm/slurmdbd.pid
LogFile=$root/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=local
StorageLoc=accounting
END
  {
    cat <<END
ClusterName=$name
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=slurm
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$root/run/munge/socket
CredType=cred/munge
StateSaveLocation=$root/state
SlurmdSpoolDir=$root/spool/%n
SlurmctldPidFile=$root/run/slurm/slurmctld.pid
SlurmdPidFile=$root/run/slurmd-%n.pid
SlurmctldLogFile=$root/log/slurmctld.log
SlurmdLogFile=$root/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
$(memory_limits)
MpiDefault=none
SwitchType=switch/none
MailProg=/bin/true
SlurmdParameters=config_overrides
GresTypes=gpu
DefMemPerCPU=256
# Accounting. Without the password's socket slurmctld would look for munge in its usual place, and give up.
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 1))
AccountingStoragePass=$root/run/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,limits,qos
AccountingStoreFlags=job_comment
# Scheduling that reacts at once.
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0,sched_max_job_start=0,default_queue_depth=10000,bf_interval=1,bf_resolution=1,bf_max_job_test=5000,enable_user_top
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
MaxArraySize=2001
MaxJobCount=20000
MinJobAge=30
# Losses are noticed in seconds.
ReturnToService=0
SlurmctldTimeout=10
SlurmdTimeout=5
MessageTimeout=5
BatchStartTimeout=10
TCPTimeout=2
KillWait=2
END
    for i in $(seq "$nodes"); do
      local extra="Feature=old"
      [ "$i" -gt 2 ] || extra="Feature=new Gres=gpu:a100:2"
      echo "NodeName=${name}n$i NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + 10 + i)) CPUs=16 Boards=1" \
        "SocketsPerBoard=1 CoresPerSocket=16 ThreadsPerCore=1 RealMemory=8000 $extra"
    done
    local all="${name}n[1-$nodes]"
    cat <<END
PartitionName=work Nodes=$all Default=YES MaxTime=1-00:00:00 DefaultTime=00:05:00
PartitionName=short Nodes=$all MaxTime=00:10:00 DefaultTime=00:01:00 MaxNodes=2
PartitionName=small Nodes=${name}n$nodes MaxTime=01:00:00 MaxNodes=1 MaxCPUsPerNode=2 MaxMemPerNode=1000
PartitionName=gpu Nodes=${name}n[1-2] MaxTime=1-00:00:00 DefaultTime=00:05:00
PartitionName=spare Nodes=${name}n$nodes MaxTime=1-00:00:00 PriorityTier=1 PreemptMode=CANCEL
PartitionName=yielding Nodes=${name}n$nodes MaxTime=1-00:00:00 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent Nodes=${name}n$nodes MaxTime=1-00:00:00 PriorityTier=100
PartitionName=closed Nodes=${name}n1 State=DOWN
END
  } >"$root/etc/slurm.conf"
  # Slurm counts a GPU only where a character device stands for it; these have the numbers of /dev/null.
  for i in 0 1; do [ -e "$root/dev/gpu$i" ] || mknod -m 666 "$root/dev/gpu$i" c 1 3; done
  printf 'AutoDetect=off\nNodeName=%sn[1-2] Name=gpu Type=a100 File=%s/dev/gpu[0-1]\n' "$name" "$root" >"$root/etc/gres.conf"
  printf 'CgroupPlugin=cgroup/v1\nConstrainRAMSpace=%s\n' "$([ "$memory" = kernel ] && echo yes || echo no)" \
    >"$root/etc/cgroup.conf"
  chown -R slurm:slurm "$root/run/slurm" "$root/log" "$root/state" "$root/etc/slurmdbd.conf"
  chmod 600 "$root/etc/slurmdbd.conf"
}

start_controller() {
  as slurm slurmctld -f "$SLURM_CONF"
}

start_node() {
  mkdir -p "$root/spool/$1"
  slurmd -N "$1" -f "$SLURM_CONF"
}

idle() { [ "$(timeout 2 sinfo -h -N -p work -t idle -o %N | wc -l)" = "$nodes" ]; }

add_users() {
  sacctmgr -i add user name="$(IFS=,; echo "$*")" account=physics \
    defaultaccount=physics qos=normal,few,brief defaultqos=normal >/dev/null || [ $? = 1 ] # 1: they are there already
}

up() {
  root=$(realpath -m "$1") nodes=${2:-4} port=${3:-17000} name=${4:-physlab} memory=${5:-}
  [ -n "$memory" ] || memory=$(control_groups && echo kernel || echo watched)
  mkdir -p "$root"/{etc,run/munge,run/slurm,run/database,log,munge,db,state,spool,dev}
  chmod 755 "$root" "$root"/run
  chmod 700 "$root/munge"
  printf 'nodes=%q\nport=%q\nname=%q\nmemory=%q\n' "$nodes" "$port" "$name" "$memory" >"$root/settings"
  use "$root"
  write_configuration
  start_munge
  start_database
  MYSQL_UNIX_PORT=$root/run/database/socket SLURM_CONF=$root/etc/slurmdbd.conf as slurm slurmdbd -v
  wait_for 30 slurmdbd sacctmgr -n show cluster
  sacctmgr -i add cluster "$name" >/dev/null || true
  sacctmgr -i add account physics cluster="$name" >/dev/null || true
  sacctmgr -i add qos few MaxSubmitJobsPerUser=5 MaxJobsPerUser=1 >/dev/null || true
  sacctmgr -i add qos brief MaxWall=00:02:00 Flags=DenyOnLimit >/dev/null || true
  add_users root
  start_controller
  for i in $(seq "$nodes"); do start_node "${name}n$i"; done
  wait_for 60 "A node" idle
  echo "export SLURM_CONF=$SLURM_CONF"
}

alive() { # PID: whether it runs; one that only waits to be fetched by its parent does not
  [ -r "/proc/$1/status" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

end() { # SIGNAL PIDFILE...: the processes of these files, and SIGKILL for what is still there after a second ($patience/20 s)
  local signal=$1 pids=() file pid tries=${patience:-20}
  shift
  for file in "$@"; do
    [ -s "$file" ] && pid=$(cat "$file") && kill -"$signal" "$pid" 2>/dev/null && pids+=("$pid")
  done
  for pid in "${pids[@]}"; do
    while alive "$pid" && [ $tries -gt 0 ]; do
      tries=$((tries - 1))
      sleep 0.05
    done
    ! alive "$pid" || kill -KILL "$pid" 2>/dev/null || true
  done
}

below() { # the processes below a process
  local pid
  for pid in $(ps -o pid= --ppid "$1"); do
    echo "$pid"
    below "$pid"
  done
}

told() { # PID NAME=VALUE: whether this stands in the environment of the process
  tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | grep -qxF "$2"
}

running() { # [NODE]: the slurmstepd of this cluster, or of one of its nodes, with everything that they run
  local pid child
  for pid in $(pgrep -x slurmstepd); do
    told "$pid" "SLURM_CONF=$SLURM_CONF" || continue
    for child in $(below "$pid"); do
      if [ -z "${1:-}" ] || told "$child" "SLURMD_NODENAME=$1"; then
        echo "$pid" "$child"
      fi
    done
  done
}

kill_all() { [ $# = 0 ] || kill -KILL "$@" 2>/dev/null || true; }

down() {
  use "$1"
  end TERM "$root"/run/slurm/slurmctld.pid "$root"/run/slurmd-*.pid
  # shellcheck disable=SC2046 # a list of numbers
  kill_all $(running)
  end TERM "$root/run/slurm/slurmdbd.pid"
  end TERM "$root/run/database/mariadbd.pid" "$root/run/munge/munged.pid"
  find "/sys/fs/cgroup/memory/slurm_${name}n"* -depth -type d -exec rmdir {} + 2>/dev/null || true
}

command=${1:-}
shift || true
case "$command" in
  up) up "$@" ;;
  down) down "$@" ;;
  user) use "$1"; shift; add_users "$@" ;;
  stop-controller) use "$1"; patience=400 end TERM "$root/run/slurm/slurmctld.pid" ;;
  kill-controller) use "$1"; end KILL "$root/run/slurm/slurmctld.pid" ;;
  start-controller) use "$1"; start_controller; wait_for 30 slurmctld scontrol ping ;;
  # shellcheck disable=SC2046 # a list of numbers
  kill-node) use "$1"; end KILL "$root/run/slurmd-$2.pid"; kill_all $(running "$2") ;;
  start-node) use "$1"; start_node "$2" ;;
  *) sed -n '2,/^set/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 2 ;;
esac
