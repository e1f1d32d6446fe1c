#!/bin/sh
# Record every FOLL_PIN reference that a Linux machine takes and drops. Run as root:
#
#   sh record.sh OUTDIR -- COMMAND [ARG...]     while a command runs
#   sh record.sh OUTDIR SECONDS                 for a while
#
# BUFFER_KB (default 65536) is the ring of each CPU. OUTDIR must not exist. It works in a tracing instance and
# an event group of its own, and takes both away again when it ends or is interrupted. See record.md.
set -eu

GROUP=wbpins
die() { echo "record.sh: $*" >&2; exit 2; }

[ $# -ge 2 ] || die "usage: record.sh OUTDIR -- COMMAND [ARG...], or record.sh OUTDIR SECONDS"
OUT=$1; shift
if [ "$1" = "--" ]; then
    shift
    [ $# -ge 1 ] || die "no command after --"
else
    case $1 in *[!0-9]*|'') die "'$1' is not a number of seconds" ;; esac
    set -- sleep "$1"
fi
BUFFER_KB=${BUFFER_KB:-65536}
case $BUFFER_KB in *[!0-9]*|'') die "BUFFER_KB '$BUFFER_KB' is not a number" ;; esac
[ "$(id -u)" = 0 ] || die "tracing needs root"
[ ! -e "$OUT" ] || die "$OUT exists already"

# Where tracing is, and whether it can be had.
TRACING=/sys/kernel/tracing
[ -e $TRACING/README ] || TRACING=/sys/kernel/debug/tracing
[ -e $TRACING/README ] || mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null && TRACING=/sys/kernel/tracing
[ -r $TRACING/README ] || die "no tracefs: use the vmstat counters instead (record.md)"
if [ -e $TRACING/dynamic_events ]; then EVENTS=$TRACING/dynamic_events; else EVENTS=$TRACING/kprobe_events; fi
[ -w "$EVENTS" ] || die "this kernel has no kprobe or fprobe events (or is locked down): use the vmstat counters"
grep -q "/$GROUP/\|:$GROUP/" "$EVENTS" && die "events of group $GROUP exist: is another recording running?"

# Which functions see every pin: mm/gup.c, v6.12; before commit f442fa614137 (in v6.10, and 6.9 stable) v6.1's.
has() { grep -q "^[0-9a-f]* [tT] $1\$" /proc/kallsyms; }
if has try_grab_folio_fast; then
    PROBES='grab_fast:try_grab_folio_fast grab:try_grab_folio put:gup_put_folio'
else
    PROBES='grab_fast:try_grab_folio grab:try_grab_page put:gup_put_folio'
fi
for probe in $PROBES; do
    has "${probe#*:}" || die "the kernel has no function ${probe#*:} (inlined or renamed): its pins would be missed"
done

# FOLL_PIN: 0x40000 until 6.2, 0x80000 since commit 2c2241081f7d (in v6.3).
RELEASE=$(uname -r)
MAJOR=${RELEASE%%.*}; MINOR=${RELEASE#*.}; MINOR=${MINOR%%[!0-9]*}
if [ "$MAJOR" -lt 6 ] || { [ "$MAJOR" -eq 6 ] && [ "$MINOR" -lt 3 ]; }; then PIN=0x40000; else PIN=0x80000; fi

# fprobe events (since 6.5) miss nothing. A kprobe that hits while another one is handled is skipped.
KIND=p
if grep -q 'f\[' $TRACING/README && [ -e $TRACING/dynamic_events ]; then
    KIND=f
    for probe in $PROBES; do
        grep -q "^${probe#*:}\( \|\$\)" $TRACING/available_filter_functions || KIND=p
    done
fi

INSTANCE=$TRACING/instances/$GROUP
READER=
cleanup() {
    trap - EXIT HUP INT TERM
    if [ -d "$INSTANCE" ]; then
        echo 0 > "$INSTANCE/tracing_on" || :
        [ -z "$READER" ] || kill "$READER" 2>/dev/null || :
        [ -z "$READER" ] || wait "$READER" 2>/dev/null || :
        echo 0 > "$INSTANCE/events/enable" 2>/dev/null || :
        rmdir "$INSTANCE" || :
    fi
    for name in grab_fast grab put vb; do
        grep -q ":$GROUP/$name " "$EVENTS" && echo "-:$GROUP/$name" >> "$EVENTS"
    done
    return 0
}
trap cleanup EXIT
trap 'cleanup; exit 130' HUP INT TERM

mkdir -p "$OUT"
{ uname -r; uname -m; } > "$OUT/kernel.txt"
cat /proc/zoneinfo > "$OUT/zoneinfo.txt"
cat $TRACING/kprobe_profile > "$OUT/kprobe_profile.before.txt" 2>/dev/null || :

# struct page: flags at 0, compound_head at 8; the second page's flags at 64 hold the order (since 6.6).
define() { # KIND NAME FUNCTION
    refs='refs=$arg2:s32'; flags='flags=$arg3:x32'
    [ "$3" != try_grab_page ] || { refs=; flags='flags=$arg2:x32'; }
    echo "$1:$GROUP/$2 $3 page=\$arg1:x64 $refs $flags head=+8(\$arg1):x64 pflags=+0(\$arg1):x64 f1=+64(\$arg1):x64"
}
for probe in $PROBES; do
    define $KIND "${probe%%:*}" "${probe#*:}" >> "$EVENTS" 2>/dev/null ||
        die "the kernel refused $(define $KIND "${probe%%:*}" "${probe#*:}") (see $TRACING/error_log)"
done
# Where vmemmap begins; needs KALLSYMS_ALL. Without it the importer infers the base and says so.
echo "p:$GROUP/vb pin_user_pages_fast vmemmap=@vmemmap_base:x64" >> "$EVENTS" 2>/dev/null ||
    echo "record.sh: vmemmap_base cannot be read; the importer will infer it" >&2
grep "$GROUP/" "$EVENTS" > "$OUT/definitions.txt"

mkdir "$INSTANCE"
echo 0 > "$INSTANCE/tracing_on"
echo "$BUFFER_KB" > "$INSTANCE/buffer_size_kb"
echo global > "$INSTANCE/trace_clock"
for probe in $PROBES; do
    echo "flags & $PIN" > "$INSTANCE/events/$GROUP/${probe%%:*}/filter"
done
# One base is enough: the event turns itself off.
[ ! -d "$INSTANCE/events/$GROUP/vb" ] ||
    echo "disable_event:$GROUP:vb:1" > "$INSTANCE/events/$GROUP/vb/trigger" 2>/dev/null || :
echo 1 > "$INSTANCE/events/$GROUP/enable"
cat "$INSTANCE/trace_pipe" > "$OUT/trace.txt" &
READER=$!

counters() { # the counters are per CPU and folded lazily; reading stat_refresh makes them exact
    cat /proc/sys/vm/stat_refresh > /dev/null 2>&1 || :
    cat /proc/vmstat
}
counters > "$OUT/vmstat.before.txt"
echo 1 > "$INSTANCE/tracing_on"
STATUS=0
"$@" || STATUS=$?
sleep 3 # io_uring and the like drop their pins after their process has ended
echo 0 > "$INSTANCE/tracing_on"
counters > "$OUT/vmstat.after.txt"

# trace_pipe ends by itself once it is empty and tracing is off, unless nothing was ever in it.
waited=0
while kill -0 "$READER" 2>/dev/null && [ $waited -lt 120 ]; do
    size=$(wc -c < "$OUT/trace.txt"); sleep 2; waited=$((waited + 2))
    [ "$size" != "$(wc -c < "$OUT/trace.txt")" ] || break
done
kill "$READER" 2>/dev/null || :
wait "$READER" 2>/dev/null || :
READER=
grep -H . "$INSTANCE"/per_cpu/cpu*/stats > "$OUT/stats.txt"
# Only our probes: the global file also counts other people's.
awk '$1 == "grab_fast" || $1 == "grab" || $1 == "put"' $TRACING/kprobe_profile > "$OUT/kprobe_profile.txt" || :
rm -f "$OUT/kprobe_profile.before.txt"
cleanup

[ $STATUS = 0 ] || echo "record.sh: the command ended with status $STATUS" >&2
[ -s "$OUT/trace.txt" ] || echo "record.sh: nothing was pinned meanwhile" >&2
[ $KIND = f ] || echo "record.sh: kprobe events were used: they may miss hits, and the importer will say whether" >&2
echo "recorded in $OUT; now:  workbench trace import $OUT -o pins.parquet"
