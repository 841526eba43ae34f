#!/usr/bin/env bash
# lab.sh OUT up|down|machines: an NFS server in a network namespace of its own, and two machines that mount OUT/shared
cd "$1"; net=faults-nfs
case $2 in
up)
  set -e
  ip netns add $net; ip -n $net link set lo up
  ip -n $net link add br0 type bridge; ip -n $net addr add 10.232.0.1/24 dev br0; ip -n $net link set br0 up
  for i in 1 2; do ip -n $net tuntap add tap$i mode tap; ip -n $net link set tap$i master br0 up; done
  sed "s#@SHARED@#$PWD/shared#" "$3" > ganesha.conf; mkdir -p /var/lib/nfs/ganesha /var/run/ganesha
  ip netns exec $net ganesha.nfsd -f "$PWD/ganesha.conf" -L "$PWD/ganesha.log" -p "$PWD/ganesha.pid"
  for _ in $(seq 100); do [ -s ganesha.pid ] && break; sleep 0.1; done;;
machines)
  kernel=$(ls /boot/vmlinuz-*cloud* | tail -1)
  for i in 1 2; do
    ip netns exec $net qemu-system-x86_64 -accel tcg -cpu max -m 900 -smp 1 -nographic -no-reboot -kernel "$kernel" \
      -initrd initrd.gz -append "console=ttyS0 quiet panic=-1 labid=$i labopt=$3" -netdev tap,id=n,ifname=tap$i,script=no,downscript=no \
      -device virtio-net-pci,netdev=n,mac=52:54:00:00:00:0$i </dev/null > vm$i.log 2>&1 &
    echo $! > vm$i.pid
  done
  wait;;
down)
  for file in vm1.pid vm2.pid ganesha.pid; do [ -s $file ] && kill "$(cat $file)" 2>/dev/null; done
  for _ in $(seq 50); do kill -0 "$(cat ganesha.pid 2>/dev/null)" 2>/dev/null || break; sleep 0.1; done
  ip netns del $net;;
esac
exit 0
