#!/bin/busybox sh
# What xl runs in dom0 for a network card: puts the backend's interface on the bridge.
export PATH=/bin:/usr/bin
[ "$1" = online ] || exit 0
brctl addif xenbr0 "$vif"
ip link set "$vif" up
xenstore-write "$XENBUS_PATH/hotplug-status" connected
