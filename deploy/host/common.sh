# What the scripts of this folder share; sourced, not run.
#
# Results of --check: "ok", "want" (with the command that mends it) and "note" lines; exit 0 when nothing is wanted, 3 when
# something is, 1 when the script could not look, 2 for wrong usage. State for --restore: $STATE_DIR/NAME.*.
# shellcheck shell=bash

set -uo pipefail
SYS=${EAGRE_HOST_SYS:-/sys}    # another root for tests
PROC=${EAGRE_HOST_PROC:-/proc}
STATE_DIR=${EAGRE_HOST_STATE:-/run/eagre-host}
wants=0

ok() { echo "ok    $*"; }
note() { echo "note  $*"; }
want() { # what [command]
    echo "want  $1${2:+; do: $2}"
    wants=$((wants + 1))
}
die() { # text
    echo "$(basename "$0"): $*" >&2
    exit 1
}
usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
untested() { note "UNTESTED on a physical NIC: this script was only run where none exists; read it before --apply"; }
need_root() { [ "$(id -u)" -eq 0 ] || [ "$SYS" != /sys ] || die "needs root"; } # a tree of files needs none

# Writes a value into a file of the kernel; says so; nothing when it stands there already.
put() { # file value
    local now
    now=$(cat "$1" 2>/dev/null) || die "no $1"
    [ "$now" != "$2" ] || return 0
    echo "set   $1: $now -> $2"
    echo "$2" 2>/dev/null >"$1" || { echo "      refused by the kernel"; return 1; }
}

# Remembers what stood somewhere before the first change; later calls keep the oldest.
remember() { # name file
    mkdir -p -m 700 "$STATE_DIR" || die "no $STATE_DIR"
    grep -q "^$2 " "$STATE_DIR/$1" 2>/dev/null || echo "$2 $(cat "$2")" >>"$STATE_DIR/$1"
}
# Puts everything back that remember() noted.
put_back() { # name
    local file value
    if [ ! -f "$STATE_DIR/$1" ]; then
        echo "nothing to restore ($STATE_DIR/$1 does not exist)"
        return 0
    fi
    while read -r file value; do
        [ -e "$file" ] && put "$file" "$value"
    done <"$STATE_DIR/$1"
    rm -f "$STATE_DIR/$1"
}

finish() {
    if [ "$wants" -eq 0 ]; then
        echo "nothing is wanted"
        exit 0
    fi
    echo "$wants wanted"
    exit 3
}
