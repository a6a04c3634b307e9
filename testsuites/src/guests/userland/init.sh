#!/bin/busybox sh
# The first process of the userland guest. `set=full` on the kernel's command line is the long form.
/bin/busybox mount -t proc p /proc; /bin/busybox mount -t sysfs s /sys; /bin/busybox mount -t devtmpfs d /dev
exec </dev/console >/dev/console 2>&1
echo "MARK userland"
case "$(/bin/busybox cat /proc/cmdline)" in *set=full*) /bin/dash /checks/run.sh full ;; *) /bin/dash /checks/run.sh ;; esac
echo "MARK done"
/bin/busybox sleep 1
/bin/busybox poweroff -f
