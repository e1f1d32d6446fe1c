#!/bin/sh
# The two FOLL_PIN counters as a series, where tracing cannot be had. Root or not:
#
#   sh vmstat.sh FILE SECONDS [INTERVAL]        INTERVAL in seconds, default 1; FILE must not exist
#
# Lines of "ns acquired released": time since boot to 10 ms, and base pages (references) since boot. As root
# stat_refresh is read before each line, which folds the per-CPU parts in and makes the counters exact; else
# they may lag by up to 125 per CPU and node. Ended early, the lines so far are good. See record.md.
set -eu

die() { echo "vmstat.sh: $*" >&2; exit 2; }

[ $# -eq 2 ] || [ $# -eq 3 ] || die "usage: vmstat.sh FILE SECONDS [INTERVAL]"
FILE=$1 SECONDS_=$2 INTERVAL=${3:-1}
case $SECONDS_ in *[!0-9]*|'') die "'$SECONDS_' is not a whole number of seconds" ;; esac
case $INTERVAL in *[!0-9.]*|*.*.*|''|.) die "'$INTERVAL' is not a number of seconds" ;; esac
case $INTERVAL in *[1-9]*) ;; *) die "the interval must be more than 0" ;; esac
[ ! -e "$FILE" ] || die "$FILE exists already"
[ -d "$(dirname "$FILE")" ] || die "the folder of $FILE does not exist"
grep -q '^nr_foll_pin_acquired ' /proc/vmstat ||
    die "no nr_foll_pin_acquired in /proc/vmstat (since Linux 5.7)"

REFRESH=/proc/sys/vm/stat_refresh
EXACT=0
! cat $REFRESH > /dev/null 2>&1 || EXACT=1
[ $EXACT = 1 ] || echo "vmstat.sh: $REFRESH cannot be read (it needs root): the counters may lag" >&2

reading() {
    [ $EXACT = 0 ] || cat $REFRESH > /dev/null || die "$REFRESH cannot be read any more"
    awk 'NR == 1 { split($1, t, "."); next }
        $1 == "nr_foll_pin_acquired" { a = $2 }
        $1 == "nr_foll_pin_released" { r = $2 }
        END { print t[1] t[2] "0000000", a, r }' /proc/uptime /proc/vmstat
}
{
    echo "# vmstat-series/1 kernel=$(uname -r) exact=$EXACT"
    echo "# ns acquired released"
} > "$FILE" || die "$FILE cannot be written"
read -r now _ < /proc/uptime
END=$((${now%.*} + SECONDS_))
while reading >> "$FILE"; read -r now _ < /proc/uptime; [ "${now%.*}" -lt $END ]; do
    sleep "$INTERVAL"
done
