# shellcheck shell=bash
# Sets $target to the static musl target of the architecture $machine and exports what compilers need for it. Sourced by
# scripts that build, from the project's top folder.
own=$(uname -m)
target=${machine:?}-unknown-linux-musl
if [ "$machine" = "$own" ]; then
    # Kernel headers for musl-gcc; .cargo/config.toml names x86_64's.
    includes="-idirafter /usr/include/$machine-linux-gnu -idirafter /usr/include"
else
    # Debian has no cross musl-gcc: the cross compiler by musl's specs. Named by target, so that the compiler of build
    # scripts stays this machine's.
    mkdir -p target/cross
    wrapper=$PWD/target/cross/$machine-linux-musl-gcc
    printf '#!/bin/sh\nexec %s-linux-gnu-gcc "$@" -specs %s/musl-gcc.specs\n' "$machine" \
        "${MUSL_LIB:-/usr/lib/$machine-linux-musl}" >"$wrapper"
    chmod +x "$wrapper"
    includes="-idirafter /usr/$machine-linux-gnu/include"
    upper=$(tr '[:lower:]-' '[:upper:]_' <<<"$target")
    export "CC_${target//-/_}=$wrapper" "CARGO_TARGET_${upper}_LINKER=$machine-linux-gnu-gcc"
    # Without the helpers of libgcc that musl has not.
    export "CFLAGS_${target//-/_}=-mno-outline-atomics -Wno-error"
fi
export LIBBPF_SYS_EXTRA_CFLAGS=${LIBBPF_SYS_EXTRA_CFLAGS-$includes}
