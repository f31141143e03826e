# Sourced by ./run and ./test: brings what they need, and only what is missing.
# shellcheck shell=bash

say() { printf '%s\n' "$@" >&2; }
fail() { say "$0: $*"; exit 1; }

need_root() {
    [[ $EUID -eq 0 ]] || fail "this needs root: network namespaces and WireGuard devices. Try: sudo $0 $*"
}

# need_packages NAME...: install those Debian packages that are not there.
need_packages() {
    local package missing=()
    for package in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || fail "not a Debian system; please install: ${missing[*]}"
    [[ $EUID -eq 0 ]] || fail "missing Debian packages: ${missing[*]}. Install them, or run this as root."
    say "installing Debian packages: ${missing[*]}"
    quietly apt-get update
    DEBIAN_FRONTEND=noninteractive quietly apt-get install --yes --no-install-recommends "${missing[@]}"
}

# need_venv LOCK...: the virtual environment holds what these locks name, and Gatepost from this checkout.
# Done again only when a lock, the package's metadata or the interpreter changed.
need_venv() {
    local python=/usr/bin/python3 pip lock digest stamp=.venv/locks
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is older than 3.11"
    digest=$({ "$python" --version; pwd; cat pyproject.toml "$@"; } | sha256sum)
    if [[ -x .venv/bin/python ]] && grep -qsxF "$digest" "$stamp"; then return 0; fi
    say "installing Python packages into .venv: $*"
    [[ -x .venv/bin/pip ]] || quietly "$python" -m venv --clear .venv
    pip=(.venv/bin/python -m pip --quiet --disable-pip-version-check --no-input)
    for lock in "$@"; do quietly "${pip[@]}" install --require-hashes --requirement "$lock"; done
    quietly "${pip[@]}" install --no-deps --no-build-isolation --editable .
    printf '%s\n' "$digest" >>"$stamp"
}

# quietly COMMAND...: show its output only when it fails.
quietly() {
    local output
    if ! output=$("$@" 2>&1 </dev/null); then
        say "$output"
        fail "$* failed; its output is above"
    fi
}
