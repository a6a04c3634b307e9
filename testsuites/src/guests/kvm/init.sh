#!/bin/busybox sh
# The first process of Linux that runs another by KVM. With levels=N on the kernel's command line the other does
# the same with N - 1; with levels=1 it is the plain Linux guest. Lines of its console begin with "| ".
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev; mount -t tmpfs t /tmp
exec </dev/console >/dev/console 2>&1
mark() { echo "MARK $1 $(cut -d' ' -f1 /proc/uptime)"; }
mark userspace
for m in /modules/*.ko; do insmod "$m"; done
cd /sys/module/kvm_intel/parameters
echo "kvm: $(grep -H . ept vpid unrestricted_guest nested flexpriority | tr '\n' ' ')"
cd /
left=$(($(sed -n 's/.*\blevels=\([0-9]*\).*/\1/p' /proc/cmdline) - 1))
if [ $left = 0 ]; then memory=128 initrd=plain; else memory=448 initrd=nested; fi
qemu-system-x86_64 -accel kvm -cpu host -m $memory -nodefaults -display none -serial stdio -no-reboot \
    -kernel /guest/vmlinuz -initrd /guest/$initrd \
    -append "console=ttyS0 panic=-1 work=none levels=$left" </dev/null |
    while read -r line; do echo "| $line"; done
mark done
sleep 1
poweroff -f
