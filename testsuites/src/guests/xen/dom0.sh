#!/bin/busybox sh
# The first process of Linux as Xen's dom0. It starts Xen's tools, creates the domUs that the word
# domus=pv,pvh,smp,saved,hvm,hvm2,hvmsaved,cd,grub,small,smallcd,ticks on the kernel's command line names, one after another, each until
# it has ended, and powers off. With the words pair= and kills= there are domUs with disks and network cards, see /pairs.sh.
# With the word cycles=N it then creates and destroys so many, which leaves everything as before, and destroys the
# domains whose numbers hostile= names.
# With the word commands it runs those of the file /commands, each with its status and what it prints.
# Lines of a domU's console begin with its name in parentheses.
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/usr/lib/xen-4.17/bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev; mount -t tmpfs -o size=100% t /run
exec </dev/console >/dev/console 2>&1
mark() { echo "MARK $1 $(cut -d' ' -f1 /proc/uptime)" >/dev/console; }
# word NAME: what the word NAME= of the command line says, with blanks for commas.
word() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline | tr ',' ' '; }
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
        *saved) memory=96 ;;
        ticks) memory=32 ;;
        *blkback | *qdisk | unbound) memory=128 ;;
        grub) memory=64 ;;
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
        blkback | qdisk | unbound) echo "type='pvh'" ;;
        *) echo "type='hvm'
serial='file:/var/log/xen/serial-$1.log'
vga='none'
nographic=1
usb=0
vnc=0" ;;
    esac
    [ "$1" = hvm2 ] && echo "vcpus=2"
    case $1 in
        *blkback | *qdisk | unbound) devices "$1" ;;
        grub) echo "boot='d'
disk=['format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/domu/grub.iso']" ;;
        cd) echo "boot='d'
disk=['format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/domu/cd.iso']" ;;
        smallcd) echo "boot='d'
disk=['format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/domu/small.iso']" ;;
        small | ticks) echo "kernel='/domu/$1'" ;;
        *) echo "kernel='/domu/vmlinuz'
ramdisk='/domu/initrd'
cmdline='console=hvc0 work=none $(case $1 in *saved) echo hold ;; esac)'" ;;
    esac
}

# screened: an HVM domain that has a screen, which nobody looks at.
screened() { printf "type='hvm'\nvga='stdvga'\nvnc=0\nusb=0\n"; }

# screen NAME: the text on its screen, which QEMU reads where the domain writes it.
screen() {
    rm -f "/run/$1.screen"
    xl qemu-monitor-command "$1" "pmemsave 0xb8000 4000 \"/run/$1.screen\"" >/dev/null
    sed 's/\(.\)./\1/g' "/run/$1.screen" | fold -w 80
}

# await FILE TEXT: until the text is in the file.
await() { until grep -q "$2" "$1"; do usleep 100000; done; }

# saved NAME LOG: a domU that is saved, restored, asked whether it still answers, moved to this very host while it runs,
# and destroyed.
saved() {
    xl create -q "/run/$1.cfg" || return
    await "$2" 'MARK done'
    mark saving
    xl save "$1" /run/saved.img || return
    mark restoring
    xl restore /run/saved.img || return
    mark running
    xl sysrq "$1" h
    await "$2" 'sysrq: HELP'
    mark restored
    xl migrate -s '' "$1" 'xl migrate-receive' || return
    mark migrated
    xl destroy "$1"
    rm /run/saved.img
}

# ticks LOG: the same with an HVM domU that knows nothing of Xen and only goes on.
ticks() {
    xl create -q /run/ticks.cfg || return
    await "$1" tick
    xl save ticks /run/ticks.img || return
    xl restore /run/ticks.img || return
    : >"$1"
    await "$1" tick
    mark restored
    xl migrate -s '' ticks 'xl migrate-receive' || return
    : >"$1"
    await "$1" tick
    mark migrated
    xl destroy ticks
    rm /run/ticks.img
}

for name in $(word domus); do
    log=/var/log/xen/guest-$name.log
    # Of these the serial port is the console.
    case $name in small* | ticks) log=/var/log/xen/serial-$name.log ;; esac
    : >"$log"
    configuration "$name" >"/run/$name.cfg"
    mark "create-$name"
    tail -n +1 -f "$log" | while read -r line; do echo "($name) $line"; done &
    follower=$!
    case $name in
        *saved) saved "$name" "$log" >"/run/$name.txt" 2>&1 ;;
        ticks) ticks "$log" >"/run/$name.txt" 2>&1 ;;
        # In the foreground: until the domain's end.
        *) xl create -F "/run/$name.cfg" >"/run/$name.txt" 2>&1 ;;
    esac || cat "/run/$name.txt" /var/log/xen/*-"$name".log
    sleep 2
    kill $follower
    mark "ended-$name"
done
. /pairs.sh
. /systems.sh

# holdings: what is free, and what dom0 holds of pages, event channels and grants.
holdings() {
    xl info | grep '^free_memory'
    echo "channels of dom0: $(lsevtchn 0 | wc -l)"
    xl debug-keys g
    xl dmesg | tac | sed "/'g' pressed/q" | grep -E 'domain 0: .* pages|free: ' | sort
}

# cycle: a domain that is created and destroyed.
cycle() { xl create -p -q /run/saved.cfg && xl destroy saved; }

cycles=$(word cycles)
if [ "$cycles" ]; then
    configuration saved >/run/saved.cfg
    # The first one has dom0 set up what it keeps.
    cycle
    sleep 1
    holdings >/run/before
    for i in $(seq "$cycles"); do cycle; done
    sleep 1
    holdings >/run/after
    sed 's/^/before: /' /run/before
    sed 's/^/after: /' /run/after
    cmp /run/before /run/after && mark "cycles-$cycles"
    xl list
    for id in $(word hostile); do xl destroy "$id" && mark "ended-$id"; done
fi
if grep -qw commands /proc/cmdline; then
    configuration saved | sed "s/'saved'/'a'/" >/run/a.cfg
    dmesg -n 1
    . /watch.sh
    if grep -qw watch /proc/cmdline; then watch; fi
    n=0
    while read -r line; do
        n=$((n + 1))
        # This one makes a million calls that find no memory, each several times as long if it is watched.
        case $line in *dump-core*) watching 0 ;; esac
        timeout 60 sh -c "$line" </dev/null >/run/said 2>&1
        echo "STATUS $n $?"
        watching 1
        sed "s/^/SAID $n /" /run/said
    done </commands
    if grep -qw watch /proc/cmdline; then watched; fi
fi
xl list
mark done
poweroff -f
