# shellcheck shell=bash disable=SC2034
# What the package's maintainer scripts share. None of this restarts a rig in mid-scan, unless TIMELAPSED_NOW=1; see
# update.bash. apt holds dpkg's lock while it waits for a gap, up to 2 h a rig.

home=/opt/plant-imager-timelapsed
units=/usr/lib/systemd/system
lib=/usr/lib/plant-imager-timelapsed
stopped=/run/plant-imager-timelapsed.stopped # by a removal, which may be given up
systemctl=(systemctl)
[[ ${TIMELAPSED_NOW:-} == 1 ]] && now=1 || now=0
[[ -d /run/systemd/system ]] && booted=1 || booted=0
# shellcheck source=systemd/update.bash
. "$lib/update.bash"
