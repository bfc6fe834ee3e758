#!/bin/sh
# disktest.sh write|read INSTANCE: looks for this instance's pattern on /dev/vda, past the cache. With "write" (a new
# disk's first boot), a disk that is blank gets the pattern: flushed, then read back.
# What is not blank is never written to: the first 2 MiB and the last MiB must be zeros.
# Leaves its verdict in /run/disktest: "<yes|no> <state>".
disk=/dev/vda
offset=1048576
length=65536
megabyte=1048576

verdict() {
    echo "$1 $2" >/run/disktest
    exit 0
}

blank() { # blank SKIP_BYTES COUNT_BYTES; a part that cannot be read whole is not blank
    dd if=$disk of=/run/part bs=65536 skip="$1" count="$2" iflag=skip_bytes,count_bytes 2>/dev/null || return 1
    [ "$(wc -c </run/part)" -eq "$2" ] && [ "$(tr -d '\000' </run/part | head -c 1 | wc -c)" -eq 0 ]
}

read_back() {
    dd if=$disk bs=$length skip=$((offset / length)) count=1 iflag=direct 2>/dev/null
}

case $1 in write | read) ;; *) verdict no off ;; esac
[ -b $disk ] && [ -n "$2" ] || verdict no off
size=$(($(cat /sys/block/vda/size) * 512))
[ "$size" -ge $((4 * megabyte)) ] || verdict no small

yes "cove-disk-pattern-1 $2" | head -c $length >/run/pattern
read_back >/run/found
cmp -s /run/pattern /run/found && verdict yes kept
[ "$1" = write ] || verdict no foreign
blank 0 $((2 * megabyte)) && blank $((size - megabyte)) $megabyte || verdict no foreign

dd if=/run/pattern of=$disk bs=$length seek=$((offset / length)) count=1 conv=notrunc,fsync 2>/dev/null || verdict no failed
echo 3 >/proc/sys/vm/drop_caches
read_back >/run/found
cmp -s /run/pattern /run/found && verdict yes written
verdict no failed
