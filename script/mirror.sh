# shellcheck shell=sh
# Where this machine gets Debian's packages from, as apt's sources say it: other releases lie under the same addresses.
# Sourced by scripts that need another release than this machine's. DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR go before.

# debian_mirror LABEL : the address of the first source with this label of the Release file (Debian, Debian-Security).
debian_mirror() {
    case $1 in
    Debian) given=${DEBIAN_MIRROR:-} ;;
    *) given=${DEBIAN_SECURITY_MIRROR:-} ;;
    esac
    # shellcheck disable=SC2016 # apt expands it
    [ -n "$given" ] || given=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        sed -n "s|^$1 ||p" | head -n 1)
    if [ -z "$given" ]; then
        echo "apt's sources name no mirror of $1 (apt-get update, or set DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR)" >&2
        return 1
    fi
    echo "${given%/}"
}
