# Becomes systemd on a layer of its own over this machine's files: boot.sh FOLDER PROGRAM, in namespaces of its own.
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/above" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/above,workdir=$1/work" "$1/root"
cd "$1/root"
install -D -m 755 "$2" usr/local/bin/edgetwin
rm -rf etc/systemd/system/*.wants var/lib/edgetwin etc/edgetwin
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir old
pivot_root . old
umount -l old
# `container` keeps it from what is the machine's own: its clock, its devices, its console.
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target --show-status=no
