#!/bin/busybox sh
# What xl runs in dom0 for a network card: puts the backend's interface on the bridge.
export PATH=/bin:/usr/bin
case "$1 $2" in
    "online "*) ;;
    # The card that QEMU emulates.
    "add type_if=tap")
        brctl addif xenbr0 "$INTERFACE"
        ip link set "$INTERFACE" up
        exit ;;
    *) exit ;;
esac
brctl addif xenbr0 "$vif"
ip link set "$vif" up
xenstore-write "$XENBUS_PATH/hotplug-status" connected
