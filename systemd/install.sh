#!/usr/bin/env bash
# Set up this machine as a Gatepost box from this checkout, or take that back.
#
#   install   [--root DIR]            install, or bring an installed one up to this checkout
#   uninstall [--purge] [--root DIR]  remove; keeps keys, settings and users unless --purge
#
# Programs go to /opt/gatepost, units to /etc/systemd/system, commands to /usr/local/bin. With
# --root everything is put below DIR, and nothing of this machine is changed, started or stopped.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source .ci/prepare.sh

readonly packages=(nftables python3 python3-venv wireguard-go)
# systemd-python comes as source only, and these compile it. Where there is no compiler yet they are
# 45 MB to fetch and 180 MB on disk, most of it gcc. The compiling is eight small C files: 4 s of one
# PC core; nobody has measured a Pi, ten times that would not surprise.
readonly compiler=(gcc libsystemd-dev pkg-config python3-dev)
readonly programs=(gatepost gatepostd gatepost-coordination gatepost-derp)
readonly units=(gatepost-guard.service gatepost-coordination.service gatepost-derp.service gatepostd.service gatepost-web.service gatepost-frr.path)
readonly started=(gatepost-frr.service) # by others of them

root=
purge=
scratch=

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' systemd/install.sh >&2
    exit 2
}

main() {
    local verb=${1:-}
    shift || usage
    while (($#)); do
        case $1 in
        --root)
            [[ -n ${2:-} ]] || usage
            mkdir -p "$2"
            root=$(readlink -f "$2")
            [[ $root != / ]] || root=
            shift
            ;;
        --purge) purge=yes ;;
        *) usage ;;
        esac
        shift
    done
    case $verb in
    install) install_box ;;
    uninstall) uninstall_box ;;
    *) usage ;;
    esac
}

install_box() {
    [[ -n $root ]] || need_packages "${packages[@]}" "${compiler[@]}"
    install_programs
    install_files
    if [[ -n $root ]]; then
        say "installed below $root; nothing was started"
        return
    fi
    systemd-sysusers gatepost.conf
    systemd-tmpfiles --create gatepost.conf
    start_units
    say "" "Gatepost is installed. What to do next:" \
        "  join a network:      sudo gatepost up --login-server URL --auth-key KEY" \
        "  look at it:          gatepost status" \
        "  its web page:        http://127.0.0.1:8088 (other addresses: /etc/gatepost/web.env)" \
        "  the page's code:     sudo gatepost web-setup-code" \
        "  or run a network:    see /etc/gatepost/coordination.toml.example"
}

# A fresh tree beside the old one, swapped when it is whole: a failed install changes nothing.
install_programs() {
    local place=$root/opt/gatepost pip
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch" "${root}/opt/gatepost.new"' EXIT
    say "building Gatepost and fetching its libraries"
    /usr/bin/python3 -m venv "$scratch/build"
    pip=("$scratch/build/bin/python" -m pip --quiet --disable-pip-version-check --no-input)
    quietly "${pip[@]}" install --require-hashes --requirement requirements/build.lock
    pip+=(wheel --no-deps --no-build-isolation --wheel-dir "$scratch/wheels") # builds with that lock only
    quietly "${pip[@]}" --require-hashes --requirement requirements/appliance.lock
    quietly "${pip[@]}" .

    say "installing them into $place"
    rm -rf "$place.new"
    mkdir -p "$root/opt"
    /usr/bin/python3 -m venv "$place.new"
    pip=("$place.new/bin/python" -m pip --quiet --disable-pip-version-check --no-input)
    quietly "${pip[@]}" install --no-index --no-deps "$scratch"/wheels/*.whl
    settle "$place"
    rm -rf "$place.old"
    [[ ! -e $place ]] || mv "$place" "$place.old"
    mv "$place.new" "$place"
    rm -rf "$place.old"
}

# Programs name their interpreter by its path, so they are written again for where they will lie.
settle() {
    local file
    for file in "$1".new/bin/*; do
        [[ -f $file && ! -L $file ]] || continue
        sed -i "1,40s|$1\.new|/opt/gatepost|g" "$file"
    done
    sed -i "s|$1\.new|/opt/gatepost|g" "$1.new/pyvenv.cfg"
}

install_files() {
    local program file
    umask 022
    mkdir -p "$root"/etc/{systemd/system,systemd/networkd.conf.d,sysusers.d,tmpfiles.d,gatepost} "$root/usr/local/bin"
    for program in "${programs[@]}"; do
        ln -sfn "/opt/gatepost/bin/$program" "$root/usr/local/bin/$program"
    done
    install -m 0644 systemd/system/*.{service,path} "$root/etc/systemd/system/"
    install -m 0644 systemd/networkd.conf.d/10-gatepost.conf "$root/etc/systemd/networkd.conf.d/"
    install -m 0644 systemd/sysusers.d/gatepost.conf "$root/etc/sysusers.d/"
    install -m 0644 systemd/tmpfiles.d/gatepost.conf "$root/etc/tmpfiles.d/"
    for file in settings.toml web.env; do # what the operator changed stays
        [[ -e $root/etc/gatepost/$file ]] || install -m 0644 "systemd/settings/$file" "$root/etc/gatepost/$file"
    done
    install -m 0644 systemd/settings/coordination.toml.example "$root/etc/gatepost/"
}

start_units() {
    if [[ ! -d /run/systemd/system ]]; then
        say "systemd does not run here: the units are installed, but nothing was started"
        return
    fi
    systemctl daemon-reload
    # systemd-networkd reads its settings only when it starts; it keeps what it manages.
    systemctl try-restart systemd-networkd.service || true
    systemctl enable --quiet "${units[@]}"
    systemctl restart gatepostd.service gatepost-web.service gatepost-frr.path
    systemctl try-restart "${started[@]}"
    [[ ! -e /etc/gatepost/coordination.toml ]] || systemctl restart gatepost-coordination.service
    [[ ! -e /etc/gatepost/derp.toml ]] || systemctl restart gatepost-derp.service
}

# The node takes its tunnel, routes and packet filter down first. That it is wanted down is not
# the operator's word, so the settings stay as they were.
stop_units() {
    local settings=/etc/gatepost/settings.toml before
    before=$(mktemp)
    [[ ! -e $settings ]] || cp -p "$settings" "$before"
    [[ ! -x /usr/local/bin/gatepost ]] || quietly timeout 20 /usr/local/bin/gatepost down ||
        say "the node did not go down by itself; a restart of the machine removes what it left"
    systemctl disable --quiet --now "${units[@]}" || true
    systemctl stop "${started[@]}" || true
    [[ ! -s $before ]] || cp -p "$before" "$settings"
    rm -f "$before"
}

uninstall_box() {
    local program file
    [[ -n $root || ! -d /run/systemd/system ]] || stop_units
    for program in "${programs[@]}"; do rm -f "$root/usr/local/bin/$program"; done
    for file in "${units[@]}" "${started[@]}"; do rm -rf "$root/etc/systemd/system/$file"; done
    rm -f "$root"/etc/{systemd/networkd.conf.d/10-gatepost.conf,sysusers.d/gatepost.conf,tmpfiles.d/gatepost.conf}
    rm -rf "$root/opt/gatepost"
    if [[ -n $purge ]]; then
        rm -rf "$root"/etc/gatepost "$root"/var/lib/gatepost{,-coordination,-derp,-web}
        [[ -n $root ]] || remove_users
    else
        say "kept: /etc/gatepost and /var/lib/gatepost* (settings and keys); --purge removes them, too"
    fi
    [[ -n $root || ! -d /run/systemd/system ]] || systemctl daemon-reload
}

remove_users() {
    local name
    for name in gatepost-web gatepost-derp gatepost-coordination; do
        ! getent passwd "$name" >/dev/null || userdel "$name"
    done
    ! getent group gatepost >/dev/null || groupdel gatepost
}

main "$@"
