#!/bin/sh
# Upgrades a running cluster, one node at a time: the witness first, the leader last, each only while the cluster is PROTECTED.
# Stops at the first thing that is not as it should be; run again it goes on with the nodes that are left. Never finalises.
#
#   deploy/upgrade.sh --package pollux_0.2.0_amd64.deb root@box1 root@box2 root@witness
#
# One HOST for each node, in any order. On each of them `pollux cluster status` must work for the user who is logged in.
#   REMOTE   how a command is run on a host (ssh): called with the host and one line of shell
#   INSTALL  what installs the package there and restarts the node by a planned stop; $package is where it was copied to
#   TIMEOUT  seconds for a node to be back and the cluster to be PROTECTED again (600)
set -eu

REMOTE=${REMOTE:-ssh}
INSTALL=${INSTALL:-'apt-get install -y --allow-downgrades "$package"'}
TIMEOUT=${TIMEOUT:-600}

die() { echo "upgrade.sh: $*" >&2; exit 1; }

package=
[ "${1:-}" != --package ] || { [ $# -ge 2 ] || die "--package needs a file"; package=$2; shift 2; }
[ -r "$package" ] || die "give --package FILE, a package that can be read"
[ $# -gt 0 ] || die "name the host of each node"

on() { host=$1; shift; $REMOTE "$host" "$*" </dev/null; }
# What a node says under a key of its status. Keys of the cluster stand before those of its nodes.
says() { on "$1" "pollux cluster status --json" | sed -n "s/^  \"$2\": *\"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p"; }
members() { on "$1" "pollux cluster members"; }

is_protected() { [ "$(says "$1" protection)" = protected ]; }

wait_until_protected() { # of HOST
    until=$(($(date +%s) + TIMEOUT))
    until is_protected "$1" 2>/dev/null; do
        [ "$(date +%s)" -lt $until ] || die "the cluster is not PROTECTED after $TIMEOUT s: see 'pollux cluster status' on $1"
        sleep 1
    done
}

# Which host is which node.
places=
for host in "$@"; do
    name=$(says "$host" answered_by)
    [ -n "$name" ] || die "$host does not say which node it is: does 'pollux cluster status' work there?"
    case " $places" in *"=$name "*) die "$host and another host are both $name" ;; esac
    places="$places$host=$name "
done
for name in $(members "$1" | awk '{ print $2 }'); do
    case " $places" in *"=$name "*) ;; *) die "no host was named for $name" ;; esac
done

host_of() { for place in $places; do [ "${place#*=}" != "$1" ] || echo "${place%=*}"; done; }

# Another data node than NAME, whose word holds while NAME is away; a witness knows too little. NAME itself where it is the only one.
beside() {
    data=$(members "$1" | awk '$3 == "data" { print $2 }')
    asked=$(echo "$data" | grep -vx "$2" | head -n 1)
    host_of "${asked:-$2}"
}

upgrade() { # HOST NAME
    ask=$(beside "$1" "$2")
    echo "$2: upgrading on $1"
    wait_until_protected "$ask"
    remote=$(on "$1" mktemp -d)/$(basename "$package")
    $REMOTE "$1" "cat > '$remote'" <"$package"
    on "$1" "package='$remote' && { $INSTALL; } && rm -r \"\$(dirname \"\$package\")\""
    wait_until_protected "$ask"
    echo "$2: runs build $(on "$1" 'pollux --version')"
}

is_protected "$(beside "$1" '')" || die "the cluster is not PROTECTED: see 'pollux cluster status', and mend that first"
# Who leads is asked at the last moment: it may have changed hands.
done_already=' '
while :; do
    next=$(members "$1" | awk -v done="$done_already" '
        index(done, " " $2 " ") { next }
        { rank = $3 == "witness" ? 0 : $5 == "leader" ? 2 : 1 }
        best == "" || rank < least { best = $2; least = rank }
        END { print best }')
    [ -n "$next" ] || break
    upgrade "$(host_of "$next")" "$next"
    done_already="$done_already$next "
done

on "$(beside "$1" '')" "pollux cluster upgrade status"
