#!/usr/bin/env bash
# build.sh OUT PYTHON PACKAGES…: OUT/initrd.gz, a machine of busybox, Python, the NFS client of Debian's cloud kernel, and PACKAGES in /opt
set -e
out=$1 python=$2; shift 2
modules=/lib/modules/$(ls /lib/modules | grep cloud | tail -1) root=$out/root
rm -rf "$root"; mkdir -p "$root"/{bin,dev,proc,sys,mnt,tmp,etc,mod,run,opt,usr/bin,usr/lib}
cp /bin/busybox "$root/bin/"; cp "$(dirname "$0")/init" "$root/init"; chmod +x "$root/init"
number=10
for name in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net \
    netfs fscache sunrpc grace lockd dns_resolver nfs nfs_acl nfsv3 nfsv4; do
  found=$(find "$modules" -name "$name.ko" | head -1)
  [ -z "$found" ] || { cp "$found" "$root/mod/$number-$name.ko"; number=$((number + 1)); }
done
cp "/usr/bin/$python" "$root/usr/bin/python3"; cp -a "/usr/lib/$python" "$root/usr/lib/"
rm -rf "$root/usr/lib/$python"/{test,idlelib,tkinter,distutils,lib2to3,ensurepip,config-*}
for package in "$@"; do cp -aL "$package" "$root/opt/"; done
find "$root" \( -name tests -o -name '*.pyi' \) -prune -exec rm -rf {} +
{ ldd "/usr/bin/$python"; find "$root/usr/lib/$python/lib-dynload" "$root/opt" -name '*.so*' -exec ldd {} \; 2>/dev/null; } \
  | grep -oE ' /[^ ]+\.so[^ ]*' | sort -u | while read -r library; do
  [ ! -e "$library" ] || { mkdir -p "$root$(dirname "$library")"; cp -L "$library" "$root$library"; }
done
mkdir -p "$root/lib64"; cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/" 2>/dev/null || true
"/usr/bin/$python" -m compileall -q --invalidation-mode unchecked-hash "$root/opt" "$root/usr/lib/$python" >/dev/null 2>&1 || true
(cd "$root" && find . | cpio -o -H newc 2>/dev/null | gzip -1) > "$out/initrd.gz"
rm -rf "$root"
