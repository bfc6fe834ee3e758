#!/bin/sh
# What this guest knows of itself, one fact a line between two markers, for a program to read.
value() { # value FILE: its first line; nothing if there is none
    text=
    [ -e "$1" ] && read -r text 2>/dev/null <"$1"
    echo "$text"
}

echo "=== cove facts begin ==="
echo "hostname=$(hostname)"
echo "kernel=$(value /proc/sys/kernel/osrelease)"
for device in /sys/class/net/*; do
    nic=${device##*/}
    [ "$nic" = lo ] && continue
    echo "nic=$nic mac=$(value "$device/address") mtu=$(value "$device/mtu") carrier=$(value "$device/carrier")"
    ip -o addr show dev "$nic" scope global | while read -r _ _ family address rest; do
        case "$family $rest" in *tentative* | *dadfailed*) continue ;; inet*) echo "address=$address dev=$nic" ;; esac
    done
done
ip route | while read -r route; do echo "route=$route"; done
ip -6 route | while read -r route; do
    case $route in fe80:* | *ff00::/8*) ;; *) echo "route6=$route" ;; esac
done
while read -r key values; do
    case $key in nameserver | search) echo "$key=$values" ;; esac
done 2>/dev/null </etc/resolv.conf
for version in 4 6; do
    [ -e "/run/net/options$version" ] || continue
    while read -r name text; do
        echo "option$version=$name $text"
    done <"/run/net/options$version"
done
echo "lease=$(value /run/lease)"
for device in /sys/block/vd*; do
    [ -e "$device/size" ] || continue
    disk=${device##*/}
    verified=no state=off
    [ "$disk" = vda ] && read -r verified state </run/disktest
    echo "disk=$disk bytes=$(($(value "$device/size") * 512)) serial=$(value "$device/serial") verified=$verified state=$state"
done
echo "=== cove facts end ==="
