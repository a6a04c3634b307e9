# Part of dom0's first process: the word systems= names domUs with systems of different kinds, HVM but for pvh, which are
# all there at once until each has come to what shows that it works.

# system NAME: its configuration.
system() {
    echo "name='$1'"
    case $1 in
        pvh) printf "type='pvh'\nmemory=128\n" ;;
        debian64 | debian32 | grub) printf "type='hvm'\nmemory=192\nvga='none'\nnographic=1\nusb=0\nvnc=0
serial='file:/var/log/xen/serial-%s.log'\n" "$1" ;;
        memtest) screened; echo "memory=48" ;;
        *) screened; echo "memory=64" ;;
    esac
    case $1 in
        pvh | debian64) printf "kernel='/domu/vmlinuz'\nramdisk='/domu/initrd'
cmdline='console=hvc0 work=none hold'\n" ;;
        debian32) printf "kernel='/domu/vmlinuz32'\nramdisk='/domu/initrd32'
cmdline='console=ttyS0 xen_nopv work=none hold'\n" ;;
        ipxe) printf "kernel='/domu/ipxe'\ncmdline='shell'\n" ;;
        grub | mach) printf "boot='d'
disk=['format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/domu/%s.iso']\n" "$1" ;;
        *) echo "kernel='/domu/$1'" ;;
    esac
}

# reached NAME: whether it has come to its end.
reached() {
    case $1 in
        pvh | debian64) grep -q 'MARK done' "/var/log/xen/guest-$1.log" ;;
        debian32) grep -q 'MARK done' /var/log/xen/serial-debian32.log ;;
        memtest) screen memtest | grep -q 'Pass:  *[1-9]' ;;
        mach) screen mach | grep -q 'No bootstrap code' ;;
        ipxe) screen ipxe | grep -q 'iPXE>' ;;
        grub) grep -q 'grub>' /var/log/xen/serial-grub.log ;;
    esac
}

systems() {
    systems=$(word systems)
    for system in $systems; do
        system "$system" >"/run/$system.cfg"
        : >"/var/log/xen/guest-$system.log"
        xl create -q "/run/$system.cfg" || cat /var/log/xen/*-"$system".log
        mark "create-$system"
    done
    waiting=$systems
    while [ "$waiting" ]; do
        sleep 3
        still=
        for system in $waiting; do
            if reached "$system"; then
                mark "reached-$system"
                # A prompt would ask for keys for ever, and leave the others less time.
                xl pause "$system"
            else
                still="$still $system"
            fi
        done
        waiting=$still
    done
    xl list
    for system in $systems; do
        case $system in
            memtest | mach | ipxe) screen "$system" | sed "s/^/($system) /; s/ *$//" ;;
        esac
        xl destroy "$system"
    done
}

if grep -q 'systems=' /proc/cmdline; then systems; fi
