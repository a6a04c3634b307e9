#!/bin/busybox sh
# What xl runs in dom0 for a disk that the kernel's backend serves: tells the backend which block device it is.
export PATH=/bin:/usr/bin
[ "$1" = add ] || exit 0
device=$(xenstore-read "$XENBUS_PATH/params")
xenstore-write "$XENBUS_PATH/physical-device" "$(stat -L -c %t:%T "$device")"
xenstore-write "$XENBUS_PATH/hotplug-status" connected
