#!/bin/busybox sh
# The first process of the Linux guest. Words it reads from the kernel's command line:
#   work=none   stop after userspace
#   shell       a shell on the console instead of the work; it ends, the machine is off
#   hold        do not power off: sleep, for use as a long-lived domain
/bin/busybox --install -s /bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev; mount -t tmpfs t /tmp
exec </dev/console >/dev/console 2>&1
mark() { echo "MARK $1 $(cut -d' ' -f1 /proc/uptime)"; }
end() { echo "MARK done"; grep -q hold /proc/cmdline && while :; do sleep 3600; done; sleep 1; poweroff -f; }
mark userspace
echo "hypervisor: $(cat /sys/hypervisor/type 2>/dev/null || echo none)"
for m in /modules/*.ko; do [ -f "$m" ] && insmod "$m"; done
[ -f /modules/1-xenfs.ko ] && mount -t xenfs x /xen && echo "xenfs: $(cat /xen/capabilities)"
if grep -q ' shell' /proc/cmdline; then
  cd /; export HOME=/ TERM=linux PS1='/ # '
  tty=/dev/$(sed 's/.*console=\([a-zA-Z0-9]*\).*/\1/' /proc/cmdline)
  setsid -c sh <"$tty" >"$tty" 2>&1
  poweroff -f
fi
grep -q work=none /proc/cmdline && end
# work
dd if=/dev/zero bs=1M count=8 2>/dev/null | sha256sum
mark sha256
dd if=/dev/zero bs=64k count=32 2>/dev/null | tr '\0' 'a' > /tmp/r; seq 1 60000 >> /tmp/r
for i in 1 2; do gzip -c /tmp/r > /tmp/r.gz; gunzip -c /tmp/r.gz | cmp - /tmp/r; done; md5sum < /tmp/r.gz
mark gzip
i=0; while [ $i -lt 100 ]; do /bin/busybox true; i=$((i+1)); done
mark fork
i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo $i
mark shell
seq 1 20000 | sort -r | md5sum
mark sort
dd if=/dev/zero of=/tmp/z bs=1M count=32 2>/dev/null; cat /tmp/z | wc -c
mark copy
awk 'BEGIN{s=0; for(i=1;i<200000;i++){s=s*0.75+i/3.0} print s}'
mark float
# end of work
end
