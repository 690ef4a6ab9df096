#!/bin/sh
# A SLURM cluster of this machine alone, on its loopback, for experiments/engines/engines.py.
#
# Command: as root on Debian, after apt-get install slurmctld slurmd munge slurm-client:
#   unshare -n sh experiments/engines/slurm_loopback.sh COMMAND...
# runs COMMAND beside munged, slurmctld and slurmd, and ends them after it.
set -e
# SLURM looks up addresses of families that an interface has besides 127.0.0.1.
address=10.0.0.1
ip address add $address/32 dev lo
ip link set lo up
home=$(mktemp -d)
export SLURM_CONF=$home/slurm.conf
name=$(hostname -s)
cpus=$(nproc)
cat >"$SLURM_CONF" <<END
ClusterName=loopback
SlurmctldHost=$name($address)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$home/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
JobRequeue=1
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
NodeName=$name NodeAddr=$address CPUs=$cpus State=UNKNOWN
PartitionName=all Nodes=$name Default=YES MaxTime=INFINITE State=UP
END
mkdir "$home/state" "$home/spool"
head -c 1024 /dev/urandom >"$home/munge.key"
chmod 400 "$home/munge.key"
munged --foreground --force --key-file="$home/munge.key" --socket="$home/munge.socket" \
    --pid-file="$home/munged.pid" --log-file="$home/munged.log" --seed-file="$home/munge.seed" \
    >"$home/munge.out" 2>&1 &
munged=$!
sleep 2
slurmctld -D >"$home/slurmctld.log" 2>&1 &
slurmctld=$!
slurmd -D -N "$name" >"$home/slurmd.log" 2>&1 &
slurmd=$!
trap 'scancel --user=root || true; kill $slurmd $slurmctld $munged' EXIT
until sinfo --noheader --format=%T 2>/dev/null | grep -q idle; do
    kill -0 $slurmctld && kill -0 $slurmd || { cat "$home"/*.log; exit 1; }
    sleep 1
done
"$@"
