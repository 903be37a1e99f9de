# shellcheck shell=bash
# The files that an installation for the whole machine consists of, besides the Python environment: of systemd/install
# below /usr/local, of the Debian package below /usr.

# Prints "SOURCE<tab>DESTINATION" of each: system_files SYSTEMD-OF-THE-SOURCES PREFIX
system_files() {
    local from=$1 lib=$2/lib service=plant-imager-timelapsed
    printf '%s\t%s\n' \
        "$from/$service.service" "$lib/systemd/system/$service.service" \
        "$from/$service@.service" "$lib/systemd/system/$service@.service" \
        "$from/time-wait-sync.conf" "$lib/systemd/system/systemd-time-wait-sync.service.d/$service.conf" \
        "$from/$service.sysusers" "$lib/sysusers.d/$service.conf" \
        "$from/$service.catalog" "$lib/systemd/catalog/$service.catalog"
}

# Prints those of the relay.
relay_files() {
    local from=$1 lib=$2/lib relay=plant-imager-timelapse-relay
    printf '%s\t%s\n' \
        "$from/$relay.service" "$lib/systemd/system/$relay.service" \
        "$from/$relay@.service" "$lib/systemd/system/$relay@.service" \
        "$from/$relay.catalog" "$lib/systemd/catalog/$relay.catalog"
}

# Prints manual pages and completions, those of a user's own installation too: shared_files SYSTEMD-OF-THE-SOURCES SHARE
shared_files() {
    local from=$1 share=$2 page
    for page in "$from"/man/*.[158]; do
        printf '%s\t%s\n' "$page" "$share/man/man${page##*.}/${page##*/}"
    done
    # Where each shell looks by itself; zsh looks for a user's own only where ~/.zshrc has this directory in fpath.
    printf '%s\t%s\n' \
        "$from/completion/timelapsectl.bash" "$share/bash-completion/completions/timelapsectl" \
        "$from/completion/_timelapsectl" "$share/zsh/${3:-site-functions}/_timelapsectl" \
        "$from/completion/timelapsectl.fish" "$share/fish/vendor_completions.d/timelapsectl.fish"
}
