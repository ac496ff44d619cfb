#!/bin/sh
# Prints the folder for what the tests write: in memory where there is plenty of it. What they judge is what a node does,
# with disks that fail and hang by plan; a shared disk that stalls for seconds beside them stops nodes as it should, and
# reddens a test that says nothing of the change. `make soak` runs on the disk.
set -eu
SHARED=/dev/shm
ROOM_KIB=$((8 * 1024 * 1024))
free() { df -P -k "$SHARED" 2>/dev/null | awk 'NR == 2 { print $4 }'; }
unused() { awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo; }
if [ -n "${TMPDIR:-}" ]; then
    echo "$TMPDIR"
elif [ -w "$SHARED" ] && [ "$(free)" -ge "$ROOM_KIB" ] && [ "$(unused)" -ge $((2 * ROOM_KIB)) ]; then
    echo "$SHARED"
else
    echo /tmp
fi
