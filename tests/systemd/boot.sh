#!/bin/bash
# Boot systemd as process 1 of its own namespaces, over a writable copy of this machine's files.
#   boot.sh ROOT CGROUP    ROOT: the mounted copy; CGROUP: a fresh directory in the cgroup v2 tree
# Becomes `unshare`, whose only child is that systemd.
set -euo pipefail
root=$1 cgroup=$2
echo $$ >"$cgroup/cgroup.procs"
# shellcheck disable=SC2016  # for the inner shell
exec unshare --pid --fork --kill-child --mount --net --uts --ipc --cgroup --propagation private bash -euc '
root=$1
hostname box
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for place in run tmp dev; do mount -t tmpfs tmpfs "$root/$place"; done
mkdir "$root"/dev/{pts,shm,net,mqueue}
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0" "net/tun 10 200"; do
    read -r name major minor <<<"$node"
    mknod -m 666 "$root/dev/$name" c "$major" "$minor"
done
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
ln -s pts/ptmx "$root/dev/ptmx"
ip link set lo up
mkdir -p "$root/old"
cd "$root"
pivot_root . old
umount --lazy /old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/systemd/systemd --system \
    --unit=multi-user.target --log-target=journal --show-status=no </dev/null >/run/console.log 2>&1
' box "$root"
