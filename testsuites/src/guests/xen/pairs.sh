# Part of dom0's first process: domUs with a disk and a network card.
# The word pair=blkback,hqdisk names two that are there at once, send to dom0 and to each other: blkback is PVH and has
# a raw disk, served by the kernel; qdisk has one in QEMU's format, served by QEMU; with an h before it, it is HVM.
# The word kills=qdisk,unbound,hqdisk,grub names those who lose their backend or their device model, one after another,
# and are created anew, beside one who loses nothing.

# devices NAME: a disk of 256 MiB, which the kernel's backend or QEMU serves, and a network card.
# What is written to the disk, and to whom it sends, are words of dom0's command line and of $extra.
devices() {
    case $1 in
        *blkback) host=2; disk=format=raw,target=/dev/loop0 ;;
        unbound) host=3; disk=format=raw,target=/dev/loop1 ;;
        *) host=3; disk=format=qcow2,backendtype=qdisk,target=/run/qdisk.img ;;
    esac
    echo "kernel='/domu/vmlinuz'
ramdisk='/domu/devices'
cmdline='console=hvc0 mib=$(word mib) ${extra-host=$host}'
disk=['vdev=xvda,access=rw,$disk']
vif=['mac=00:16:3e:00:00:0$host']"
}

# backends: the disks' files, and a bridge with dom0's address.
backends() {
    for m in /modules/[5-9]-*.ko /modules/??-*.ko; do insmod "$m"; done
    mkdir -p /dev/net
    [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
    cp /domu/disk.qcow2 /run/qdisk.img
    for n in 0 1; do
        truncate -s 256M /run/raw$n.img
        losetup /dev/loop$n /run/raw$n.img
    done
    brctl addbr xenbr0
    ip address add 10.0.0.1/24 dev xenbr0
    ip link set xenbr0 up
}

# start NAME: creates it, with its console's lines on dom0's.
start() {
    configuration "$1" >"/run/$1.cfg"
    log=/var/log/xen/guest-$1.log
    if [ ! -e "$log" ]; then
        : >"$log"
        tail -f "$log" | while read -r line; do echo "($1) $line" >/dev/console; done &
    fi
    : >"$log"
    xl create -q "/run/$1.cfg" || cat /var/log/xen/*-"$1".log
}

# receive NAME: what it sends to dom0 goes to a file.
receive() {
    case $1 in *blkback) port=5002 ;; *) port=5003 ;; esac
    # It would leave at once if it came to an end of its input.
    tail -f /dev/null | nc -l -p $port >"/run/got-$1" &
}

# ended NAME: waits until it is done and gone, and compares what it has sent.
ended() {
    await "/var/log/xen/guest-$1.log" 'MARK done'
    [ -e "/run/got-$1" ] && seq 100000 | cmp - "/run/got-$1" && mark "got-$1"
    while xl list "$1" >/dev/null 2>&1; do usleep 100000; done
}

# emulated NAME: whether its PC still has the disk that QEMU emulates.
emulated() { xl qemu-monitor-command "$1" 'info block' | grep -q '^ide'; }

pair() {
    backends
    for side; do
        receive "$side"
        start "$side"
        case $side in h*) emulated "$side" && mark "emulated-$side" ;; esac
    done
    for side; do
        case $side in h*)
            await "/var/log/xen/guest-$side.log" 'MARK disk'
            emulated "$side" || mark "unplugged-$side" ;;
        esac
        ended "$side"
    done
}

# prompt: until GRUB has one.
prompt() { await /var/log/xen/serial-grub.log 'grub>'; }

# progress NAME: what grows while it works: the seconds of an HVM one at a prompt, which polls, or else what it prints.
progress() {
    case $1 in
        grub) xl list grub | sed -n '2s/.* //p' ;;
        *) stat -c %s "/var/log/xen/guest-$1.log" ;;
    esac
}

# stalled NAME: it does nothing any more.
stalled() {
    sleep 2
    before=$(progress "$1")
    sleep 2
    [ "$(progress "$1")" = "$before" ]
}

# lose NAME: creates it, takes away who serves it while it works, and destroys it.
lose() {
    extra=endless start "$1"
    id=$(xl domid "$1")
    case $1 in
        grub) prompt ;;
        *) await "/var/log/xen/guest-$1.log" 'MARK reads-3' ;;
    esac
    stalled "$1" && echo "$1 does nothing"
    case $1 in
        # No signal kills a thread of the kernel's: it is taken away from the device.
        unbound) echo "vbd-$id-51712" >/sys/bus/xen-backend/drivers/vbd/unbind ;;
        *) kill -9 "$(xenstore-read "/local/domain/$id/image/device-model-pid" ||
            pgrep -f "xen-domid $id ")" ;;
    esac
    stalled "$1" && mark "lost-$1"
    xl list "$1" >/dev/null && xl destroy "$1"
    xl list "$1" >/dev/null 2>&1 || mark "destroyed-$1"
}

kills() {
    backends
    receive blkback
    start blkback
    for victim; do
        lose "$victim"
        case $victim in
            grub)
                rm /var/log/xen/serial-grub.log
                start grub
                prompt && mark again-grub
                xl destroy grub ;;
            # The last one talks with the one who has lost nothing.
            "$(word kills | sed 's/.* //')")
                receive "$victim"
                start "$victim"
                ended "$victim" && mark "again-$victim" ;;
            *)
                extra='' start "$victim"
                ended "$victim" && mark "again-$victim" ;;
        esac
    done
    ended blkback
}

[ "$(word pair)" ] && pair $(word pair)
[ "$(word kills)" ] && kills $(word kills)
