#!/bin/busybox sh
# The first process of Linux as Xen's dom0. It starts Xen's tools, creates the domUs that the word
# domus=pv,pvh,smp,saved,pair,hvm,hvm2,cd on the kernel's command line names, one after another, each until it has ended,
# and powers off. With the word cycles=N it then creates and destroys so many, which leaves as much memory free
# as before. With the word commands it runs those of the file /commands, each with its status and what it prints.
# Lines of a domU's console begin with its name in parentheses.
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/usr/lib/xen-4.17/bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev; mount -t tmpfs t /run
exec </dev/console >/dev/console 2>&1
mark() { echo "MARK $1 $(cut -d' ' -f1 /proc/uptime)"; }
mark userspace
mkdir -p /dev/pts; mount -t devpts p /dev/pts
ln -s /run /var/run
mkdir /run/xen /run/xenstored /run/lock
for m in /modules/[0-4]-*.ko; do insmod "$m"; done
mount -t xenfs x /proc/xen
echo "xenfs: $(cat /proc/xen/capabilities)"
xenstored --pid-file /run/xenstored.pid
xen-init-dom0
xenconsoled --log=guest --log-dir=/var/log/xen --pid-file=/run/xenconsoled.pid
xl info | grep -E '^(xen_version|virt_caps|xen_caps) '
mark tools

# configuration NAME: what differs between the kinds of domains.
configuration() {
    memory=192
    case $1 in
        saved) memory=96 ;;
        blkback | qdisk) memory=128 ;;
    esac
    echo "name='$1'
memory=$memory
on_poweroff='destroy'
on_reboot='destroy'
on_crash='destroy'"
    case $1 in
        pv | pvh) echo "type='$1'" ;;
        smp) printf "type='pvh'\nvcpus=2\n" ;;
        saved) echo "type='pvh'" ;;
        blkback | qdisk) ;;
        *) echo "type='hvm'
serial='file:/var/log/xen/serial-$1.log'
vga='none'
nographic=1
usb=0
vnc=0" ;;
    esac
    [ "$1" = hvm2 ] && echo "vcpus=2"
    case $1 in
        blkback | qdisk) devices "$1" ;;
        cd) echo "boot='d'
disk=['format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/domu/cd.iso']" ;;
        *) echo "kernel='/domu/vmlinuz'
ramdisk='/domu/initrd'
cmdline='console=hvc0 work=none $([ "$1" = saved ] && echo hold)'" ;;
    esac
}

# devices NAME: a disk of 256 MiB, which the kernel's backend or QEMU serves, and a network card.
devices() {
    mib=$(sed -n 's/.*\bmib=\([0-9]*\).*/\1/p' /proc/cmdline)
    case $1 in
        blkback) host=2; disk=format=raw,target=/dev/loop0 ;;
        qdisk) host=3; disk=format=qcow2,backendtype=qdisk,target=/run/qdisk.img ;;
    esac
    echo "type='pvh'
kernel='/domu/vmlinuz'
ramdisk='/domu/devices'
cmdline='console=hvc0 mib=$mib host=$host'
disk=['vdev=xvda,access=rw,$disk']
vif=['mac=00:16:3e:00:00:0$host']"
}

# backends: the disks' files, and a bridge with dom0's address.
backends() {
    for m in /modules/[5-9]-*.ko /modules/??-*.ko; do insmod "$m"; done
    cp /domu/disk.qcow2 /run/qdisk.img
    truncate -s 256M /run/blkback.img
    losetup /dev/loop0 /run/blkback.img
    brctl addbr xenbr0
    ip address add 10.0.0.1/24 dev xenbr0
    ip link set xenbr0 up
}

# await FILE TEXT: until the text is in the file.
await() { until grep -q "$2" "$1"; do usleep 100000; done; }

# pair: two domUs at once, each with a disk and a network card, that send to dom0 and to each other.
pair() {
    backends
    for side in blkback qdisk; do
        configuration $side >/run/$side.cfg
        log=/var/log/xen/guest-$side.log
        : >$log
        tail -f $log | while read -r line; do echo "($side) $line" >/dev/console; done &
        # It would leave at once if it came to an end of its input.
        tail -f /dev/null | nc -l -p 500$host >/run/got-$side &
        xl create -q /run/$side.cfg || return
    done
    for side in blkback qdisk; do
        await /var/log/xen/guest-$side.log 'MARK done'
        seq 100000 | cmp - /run/got-$side && mark "got-$side"
    done
    while xl list blkback || xl list qdisk; do usleep 100000; done
}

# saved CONFIGURATION LOG: a domU that is saved, restored, asked whether it still answers, moved to this very host
# while it runs, and destroyed.
saved() {
    xl create -q "$1" || return
    await "$2" 'MARK done'
    xl save saved /run/saved.img && xl restore /run/saved.img || return
    xl sysrq saved h
    await "$2" 'sysrq: HELP'
    mark restored
    xl migrate -s '' saved 'xl migrate-receive' || return
    mark migrated
    xl destroy saved
    rm /run/saved.img
}

for name in $(sed -n 's/.*\bdomus=\([^ ]*\).*/\1/p' /proc/cmdline | tr ',' ' '); do
    log=/var/log/xen/guest-$name.log
    : >"$log"
    configuration "$name" >"/run/$name.cfg"
    mark "create-$name"
    tail -n +1 -f "$log" | while read -r line; do echo "($name) $line"; done &
    follower=$!
    case $name in
        pair) pair >"/run/$name.txt" 2>&1 ;;
        saved) saved "/run/$name.cfg" "$log" >"/run/$name.txt" 2>&1 ;;
        # In the foreground: until the domain's end.
        *) xl create -F "/run/$name.cfg" >"/run/$name.txt" 2>&1 ;;
    esac || cat "/run/$name.txt" /var/log/xen/*-"$name".log
    grep MARK "/run/$name.txt"
    sleep 2
    kill $follower
    mark "ended-$name"
done
free() { xl info | sed -n 's/^free_memory *: //p'; }
cycles=$(sed -n 's/.*\bcycles=\([0-9]*\).*/\1/p' /proc/cmdline)
if [ "$cycles" ]; then
    configuration saved >/run/saved.cfg
    before=$(free)
    for i in $(seq "$cycles"); do xl create -p -q /run/saved.cfg && xl destroy saved; done
    [ "$(free)" = "$before" ] && mark "cycles-$cycles" || echo "free: $before before, $(free) after"
fi
if grep -qw commands /proc/cmdline; then
    configuration saved | sed "s/'saved'/'a'/" >/run/a.cfg
    dmesg -n 1
    n=0
    while read -r line; do
        n=$((n + 1))
        timeout 60 sh -c "$line" </dev/null >/run/said 2>&1
        echo "STATUS $n $?"
        sed "s/^/SAID $n /" /run/said
    done </commands
fi
xl list
mark done
poweroff -f
