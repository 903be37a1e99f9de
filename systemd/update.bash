# shellcheck shell=bash disable=SC2154
# Brings a version into use: makes its Python environment, and restarts what runs from another one, between scans.
# systemd/install and the Debian package source this. They set:
#
#   home        the directory of the environments
#   units       that of the unit files
#   systemctl   the command, an array
#   booted      whether its service manager runs
#   now         1: don't wait for gaps between scans
#
# Each environment has a directory of its own, VERSION-EXTRAS, and the link "bin" leads into the one in use. A power cut
# during an update leaves the old one whole, and a running daemon keeps the files that it was started from.

service=plant-imager-timelapsed
relay=plant-imager-timelapse-relay
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf '%s\n' "$*"; }

# --- environments --------------------------------------------------------------------------------------

# Prints the name of the environment of a version (what standard input digests to) with extras.
environment_name() {
    local version
    version=$({ python3 -I -c 'import sys; print(*sys.version_info[:2])' && cat; } | sha256sum | cut --characters=-12)
    say "$version${1:+-${1//,/-}}"
}

# Runs the pip of the venv module for an interpreter: run_pip PYTHON COMMAND ARGUMENTS...
# All Python here is isolated, -I: nothing that only the caller's finds is imported. Of the caller's settings those of
# the index count, and none that leads packages elsewhere, also those that a build needs.
run_pip() (
    unset PIP_{TARGET,PREFIX,ROOT,PYTHON,DRY_RUN,REQUIRE_VIRTUALENV}
    pip=$(python3 -I -c 'import ensurepip, glob, os, sysconfig
bundled = os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")
places = (sysconfig.get_config_var("WHEEL_PKG_DIR"), bundled)
print(*[path for place in places for path in glob.glob(f"{place}/pip-*.whl")][:1])')
    "$1" -I "$pip/pip" "$2" --quiet --disable-pip-version-check "${@:3}"
)

# Installs local wheels into an environment, with no settings of pip but the arguments: `--isolated` heeds some more.
# Succeeds if the daemon runs: install_wheels ENVIRONMENT ARGUMENTS OF PIP...
install_wheels() (
    for name in $(compgen -e PIP_); do
        unset "$name"
    done
    export PIP_CONFIG_FILE=/dev/null # nor /etc/pip.conf
    run_pip "$1/bin/python3" install --isolated "${@:2}" &&
        "$1/bin/python3" -I "$1/bin/timelapsed" --version >/dev/null
)

# Makes an environment, which is not yet in use: make_environment NAME EXTRAS "OPTIONS OF VENV" ARGUMENTS OF PIP...
make_environment() {
    local environment=$home/$1 extras=$2 options
    read -ra options <<<"$3"
    shift 3
    rm -rf "$environment"
    mkdir -p "$home"
    # Without the pip of its own, which takes longest to put there.
    if ! { python3 -I -m venv --without-pip "${options[@]}" "$environment" &&
        install_wheels "$environment" "$@"; }; then
        rm -rf "$environment"
        rmdir --ignore-fail-on-non-empty "$home"
        return 1
    fi
    say "$extras" >"$environment/extras" || return
    sync --file-system "$home"
}

# Prints the name of the environment in use.
environment_in_use() {
    local name
    name=$(readlink "$home/bin" || true)
    say "${name%/bin}"
}

link_environment() {
    [[ $(environment_in_use) != "$1" ]] || return 0
    ln -sfn "$1/bin" "$home/bin.new"
    mv --no-target-directory "$home/bin.new" "$home/bin"
    sync --file-system "$home"
}

# Prints the name of the environment that a running unit was started from: its interpreter is in it.
environment_of() {
    local pid python=''
    pid=$("${systemctl[@]}" show --value --property=MainPID "$1")
    if ((pid)); then
        { IFS= read -r -d '' python <"/proc/$pid/cmdline"; } 2>/dev/null || true
    fi
    python=${python#"$home/"}
    # A process may write into its own command line: only the name of an environment counts.
    [[ ! $python =~ ^[0-9a-f]{12}(-[a-z0-9-]+)?/bin/ ]] || say "${python%%/*}"
}

# Removes the environments that are neither linked nor run from.
remove_old_environments() {
    local each used
    used=$(environment_in_use && environments_that_run)
    for each in "$home"/*/; do
        each=${each%/}
        [[ -L $each ]] || grep --quiet --line-regexp "${each##*/}" <<<"$used" || rm -rf "$each"
    done
}

environments_that_run() {
    local unit
    for unit in $(running_units); do
        environment_of "$unit"
    done
}

# Keeps the unit files of environment $1, which are in place now, beside it: a way back needs both.
keep_units() {
    local each kept=$home/$1/units
    [[ ! -d $kept ]] || return 0
    mkdir -p "$kept.new"
    for each in "$units"/{"$service","$relay"}{,@}.service; do
        [[ ! -e $each ]] || install --mode=644 "$each" "$kept.new/${each##*/}" || return
    done
    mv "$kept.new" "$kept"
}

# Puts the unit files of environment $1 back into place.
restore_units() {
    local each
    for each in "$home/$1"/units/*.service; do
        [[ ! -e $each ]] || cmp --quiet "$each" "$units/${each##*/}" || install --mode=644 "$each" "$units/${each##*/}"
    done
    "${systemctl[@]}" daemon-reload
}

# --- services ------------------------------------------------------------------------------------------

# Prints the services that run, rigs first.
running_units() {
    local pattern
    ((booted)) || return 0
    for pattern in "$service.service" "$service@*.service" "$relay.service" "$relay@*.service"; do
        "${systemctl[@]}" list-units --plain --no-legend --state=active,activating,reloading "$pattern" |
            cut --delimiter=' ' --fields=1
    done
}

# Prints the running services that are to be restarted for environment $1: those of another version. Unit $2 is also
# restarted for other extras, and where $3 is 1, for other settings.
units_to_restart() {
    local each from
    for each in $(running_units); do
        from=$(environment_of "$each")
        if [[ -n $from && (${from%%-*} != "${1%%-*}" || ($each == "$2" && ($from != "$1" || $3 == 1))) ]]; then
            say "$each"
        fi
    done
}

# A scan goes on while a unit is reloading.
is_ready() { [[ $("${systemctl[@]}" show --value --property=ActiveState "$1") == @(active|reloading) ]]; }

# Returns when a rig is between two scans; fails if it never is, or nobody can say. A unit that is no longer ready by then
# takes no scans. The environment that it runs from asks, or where the machine has another Python by now, environment $2.
wait_for_gap() {
    local rig=${1#"$service"} from ctl pid scope=--system names='XDG_DATA_HOME|PI3_TIMELAPSE_FILE_NAME' own=()
    ((!now)) && [[ $1 == "$service"* ]] && is_ready "$1" || return 0
    rig=${rig#@} rig=${rig%.service} rig=${rig#.service}
    from=$(environment_of "$1")
    ctl=$home/$from/bin/timelapsectl
    [[ -x $ctl ]] || return 0
    [[ -z ${2:-} ]] || "$ctl" --help &>/dev/null || ctl=$home/$2/bin/timelapsectl
    [[ ${systemctl[*]} != *--user* ]] || scope=--user
    # The store is that of the daemon, not one that the caller's environment names.
    pid=$("${systemctl[@]}" show --value --property=MainPID "$1")
    mapfile -d '' own < <(grep --null-data --extended-regexp "^($names)=" "/proc/$pid/environ" 2>/dev/null)
    say "$1: waiting for a gap between scans"
    env --unset=XDG_DATA_HOME --unset=PI3_TIMELAPSE_FILE_NAME "${own[@]}" \
        "$tools/wait-for-gap" "$ctl" "$scope" ${rig:+--rig "$rig"} || ! is_ready "$1"
}

# Starts or restarts ($1) unit $2. A relay may take an hour where others want the processor: after 5 min it is left to it.
bring_up() {
    local status=0
    if [[ $2 != "$relay"* ]]; then
        "${systemctl[@]}" "$1" "$2"
        return
    fi
    timeout 5m "${systemctl[@]}" "$1" "$2" || status=$?
    ((status != 124)) || say "$2: goes on starting; see: ${systemctl[*]} status $2"
    ((status == 0 || status == 124))
}

# Brings environment $1 into use, and restarts services one after another; $2 and $3 as for units_to_restart. Fails if
# one does not become ready and the environment before is in use again.
use_environment() {
    local unit from was_ready updated=()
    keep_units "$1" || return
    for unit in $(units_to_restart "$@"); do
        if ! wait_for_gap "$unit" "$1"; then
            say "$unit: left running with the version before; the new one comes with its next start, in mid-scan too by:" \
                "${systemctl[*]} restart $unit"
            continue
        fi
        from=$(environment_of "$unit")
        is_ready "$unit" && was_ready=1 || was_ready=0
        link_environment "$1" || return
        if bring_up restart "$unit"; then
            say "restarted: $unit"
            updated+=("$unit")
        elif ((was_ready)) && [[ $from != "$1" && -d $home/$from ]]; then
            say "$unit: did not become ready; back to the version before, $home/$from"
            roll_back "$from" "$unit" "${updated[@]}"
            return 1
        else
            say "$unit: is not ready; see: journalctl -u $unit"
        fi
    done
    link_environment "$1"
}

# Brings environment $1 back into use, with its unit files: for unit $2 at once, for the others between scans.
roll_back() {
    local unit failed=$2
    link_environment "$1"
    restore_units "$1"
    shift
    for unit; do
        if [[ $unit != "$failed" ]] && ! wait_for_gap "$unit"; then
            say "$unit: left running with the new version; the one before comes with its next start"
            continue
        fi
        if bring_up restart "$unit"; then
            say "restarted: $unit, with the version before"
        else
            say "$unit: does not become ready with the version before, either; see: journalctl -u $unit"
        fi
    done
}
