#!/bin/sh
# told.sh KIND: something about the network was learnt (dhcp4, ra, dhcp6). Standard input has what resolvers are to know
# from it, in lines as of resolv.conf. What was learnt of all kinds makes /etc/resolv.conf, each name server once.
# Nothing here starts a process: under emulation each takes its time, while guests wait for their addresses.
while read -r line; do
    echo "$line"
done >"/run/net/resolv.$1"

domains='' servers=''
for file in /run/net/resolv.*; do
    while read -r key values; do
        for value in $values; do
            case $key in
            search) case " $domains " in *" $value "*) ;; *) domains="$domains $value" ;; esac ;;
            nameserver) case " $servers " in *" $value "*) ;; *) servers="$servers $value" ;; esac ;;
            esac
        done
    done <"$file"
done
{
    [ -z "$domains" ] || echo "search$domains"
    for server in $servers; do
        echo "nameserver $server"
    done
} >/etc/resolv.conf
echo "$1" >/run/net/events
