#!/bin/sh
# What this guest knows of itself, one fact a line between two markers, for a program to read.
echo "=== cove facts begin ==="
echo "hostname=$(hostname)"
echo "kernel=$(uname -r)"
for device in /sys/class/net/*; do
    nic=${device##*/}
    [ "$nic" = lo ] && continue
    ip=$(ip -4 -o addr show dev "$nic" | while read -r _ _ _ address _; do echo "$address"; break; done)
    echo "nic=$nic mac=$(cat "$device/address") ip=$ip mtu=$(cat "$device/mtu") carrier=$(cat "$device/carrier" 2>/dev/null)"
done
ip route | while read -r route; do echo "route=$route"; done
while read -r key value; do
    [ "$key" = nameserver ] && echo "nameserver=$value"
done 2>/dev/null </etc/resolv.conf
echo "lease=$(cat /run/lease 2>/dev/null)"
for device in /sys/block/vd*; do
    [ -e "$device/size" ] || continue
    disk=${device##*/}
    verified=no state=off
    [ "$disk" = vda ] && read -r verified state </run/disktest
    echo "disk=$disk bytes=$(($(cat "$device/size") * 512)) serial=$(cat "$device/serial" 2>/dev/null) verified=$verified state=$state"
done
echo "=== cove facts end ==="
