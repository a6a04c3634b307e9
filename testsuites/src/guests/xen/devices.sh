#!/bin/busybox sh
# The first process of a domU with a disk and a network card. It makes a file system, writes as many MiB as the word
# mib=N says, and reads them when the file system has been mounted anew. Then, with the word host=N, it sends to dom0, and
# the domUs 10.0.0.2 and 10.0.0.3 send to each other. With the word endless it reads the disk until that fails.
/bin/busybox --install -s /bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev; mount -t tmpfs t /tmp
exec </dev/console >/dev/console 2>&1
mark() { echo "MARK $1 $(cut -d' ' -f1 /proc/uptime)"; }
mark userspace
echo "hypervisor: $(cat /sys/hypervisor/type)"
word() { sed -n "s/.*\b$1=\([0-9]*\).*/\1/p" /proc/cmdline; }
for m in /modules/*.ko; do insmod "$m"; done

until [ -b /dev/xvda ]; do usleep 10000; done
if grep -qw endless /proc/cmdline; then
    n=0
    while dd if=/dev/xvda of=/dev/null iflag=direct bs=64k count=64 2>/tmp/failed; do
        n=$((n + 1))
        mark "reads-$n"
        usleep 200000
    done
    mark error
    cat /tmp/failed
    sleep 1000
fi
mke2fs -F /dev/xvda >/tmp/made
mkdir /mnt
# A chain: what is written follows from what was written before.
chain() {
    sum=$1
    for n in $(seq "$(word mib)"); do
        sum=$(yes "$sum" | dd bs=64k count=16 iflag=fullblock 2>/dev/null | tee -a /mnt/file | sha256sum)
    done
    echo "chain: $sum"
}
mount -t ext4 /dev/xvda /mnt && chain 0 && sha256sum </mnt/file >/tmp/written && umount /mnt
echo 3 >/proc/sys/vm/drop_caches
mount -t ext4 /dev/xvda /mnt && sha256sum </mnt/file >/tmp/read && umount /mnt
cmp /tmp/written /tmp/read && mark disk

host=$(word host)
if [ ! "$host" ]; then
    mark done
    poweroff -f
fi
seq 100000 >/tmp/sent
ip link set eth0 up
ip address add "10.0.0.$host/24" dev eth0
nc 10.0.0.1 "500$host" </tmp/sent && mark sent
if [ "$host" = 2 ]; then
    # It would leave at once if it came to an end of its input.
    mkfifo /tmp/nothing
    nc -l -p 5000 </tmp/nothing >/tmp/got &
    exec 3>/tmp/nothing
    wait $!
    cmp /tmp/sent /tmp/got && mark peer
else
    until nc 10.0.0.2 5000 </tmp/sent; do usleep 10000; done
    mark peer
fi
mark done
poweroff -f
