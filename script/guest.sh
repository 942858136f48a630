# shellcheck shell=sh
# What boots Debian's cloud kernels in qemu, without KVM: sourced by script/kernels and script/networks. $work holds
# packages and images; $root is the tree of files that becomes the initramfs.

work=$PWD/target/kernels
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/packages"

# apt with lists of its own: the machine's stay as they are.
# shellcheck source=script/mirror.sh
. script/mirror.sh
debian=$(debian_mirror Debian)
security=$(debian_mirror Debian-Security)
cat > "$work/sources.list" <<SOURCES
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $debian bullseye main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $debian bookworm main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $security bookworm-security main
SOURCES
cat > "$work/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$work/lists";
Dir::Cache "$work";
APT::Sandbox::User "root";
CONF

# The directory of a kernel's unpacked package, downloaded if it is not there.
kernel() {
	found=$(find "$work/packages" -maxdepth 1 -name "linux-image-$1[.+]*-cloud-amd64" | sort -V | tail -1)
	if [ -z "$found" ]; then
		[ -e "$work/updated" ] || { APT_CONFIG=$work/apt.conf apt-get -q update >&2 && touch "$work/updated"; }
		name=$(APT_CONFIG=$work/apt.conf apt-cache search --names-only "^linux-image-$1[.+].*-cloud-amd64\$" |
			cut -d' ' -f1 | sort -V | tail -1)
		[ -n "$name" ] || { echo "no package for kernel $1" >&2; exit 1; }
		(cd "$work/packages" && APT_CONFIG=$work/apt.conf apt-get -q download "$name" >&2 && dpkg -x "${name}"_*.deb "$name")
		found=$work/packages/$name
	fi
	echo "$found"
}

# Copies what a program is linked with.
install_libraries() {
	ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do install -D "$library" "$root/$library"; done
}

install_program() {
	path=$(command -v "$1")
	install -D "$path" "$root/$path"
	install_libraries "$path"
}

# An empty tree with busybox, a shell that does not call busybox's own ip, and the programs named.
begin_root() {
	root=$work/root-$1
	shift
	rm -rf "$root"
	mkdir -p "$root/bin" "$root/sbin" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp" "$root/var" "$root/etc"
	ln -s ../run "$root/var/run"
	install "$(command -v busybox)" "$root/bin/busybox"
	for tool in mount umount modprobe poweroff cat kill sleep; do ln -s /bin/busybox "$root/bin/$tool"; done
	ln -s /bin/busybox "$root/sbin/modprobe"
	for tool in "$@"; do install_program "$tool"; done
	install_program dash
	ln -sf "$(command -v dash)" "$root/bin/sh"
}

# A test program under its plain name.
install_test() {
	strip -o "$root/bin/$(basename "$1" | sed 's/-[0-9a-f]*$//')" "$1"
	install_libraries "$1"
}

# The modules of a kernel that tests may ask for, by folder; the kernel loads them by itself.
install_modules() {
	package=$1 release=$(basename "$(echo "$1"/lib/modules/*)")
	shift
	for part in "$@"; do
		from=$package/lib/modules/$release/kernel/$part
		[ -e "$from" ] || continue
		mkdir -p "$root/lib/modules/$release/kernel/$(dirname "$part")"
		cp -r "$from" "$root/lib/modules/$release/kernel/$part"
	done
	find "$root/lib/modules" -name '*.ko.xz' -exec xz -d {} +
	cp "$package/lib/modules/$release"/modules.builtin* "$package/lib/modules/$release/modules.order" "$root/lib/modules/$release/"
	depmod -b "$root" "$release"
}

# The head of /init.
init_head() {
	cat <<'INIT'
#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin RUST_BACKTRACE=0
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
INIT
}

# Boots the tree with a kernel for so many seconds at most. What it says is in $work/log-NAME.
boot() {
	name=$1 package=$2 seconds=$3
	release=$(basename "$(echo "$package"/lib/modules/*)")
	chmod +x "$root/init"
	(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) > "$work/initramfs-$name"
	echo "== kernel $release"
	timeout "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nodefaults -nographic -no-reboot \
		-serial stdio -kernel "$package/boot/vmlinuz-$release" -initrd "$work/initramfs-$name" \
		-append "console=ttyS0 quiet panic=-1" < /dev/null > "$work/log-$name" 2>&1 || true
	rm -rf "$root" "$work/initramfs-$name"
	tr -d '\r' < "$work/log-$name" > "$work/log-$name.text"
	mv "$work/log-$name.text" "$work/log-$name"
}
