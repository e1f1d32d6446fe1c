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
say() { echo "record.sh: $*" >&2; }

[ $# -ge 2 ] || die "usage: record.sh OUTDIR -- COMMAND [ARG...], or record.sh OUTDIR SECONDS"
OUT=$1; shift
case $OUT in -*) die "OUTDIR '$OUT' begins with -; write ./$OUT" ;; esac
SECONDS_=
if [ "$1" = "--" ]; then
    shift
    [ $# -ge 1 ] || die "no command after --"
    command -v "$1" > /dev/null || die "there is no command '$1'"
else
    case $1 in *[!0-9]*|'') die "'$1' is not a whole number of seconds" ;; esac
    [ $# -eq 1 ] || die "'$2' after the seconds; a command comes after --"
    SECONDS_=$1
fi
BUFFER_KB=${BUFFER_KB:-65536}
case $BUFFER_KB in *[!0-9]*|''|0) die "BUFFER_KB '$BUFFER_KB' is not a number of 1 or more" ;; esac
[ "$(id -u)" = 0 ] || die "tracing needs root"
[ ! -e "$OUT" ] || die "$OUT exists already"
[ -d "$(dirname "$OUT")" ] || die "the folder of $OUT does not exist"

# Where tracing is, and whether it can be had.
MOUNTED=
TRACING=/sys/kernel/tracing
[ -e $TRACING/README ] || TRACING=/sys/kernel/debug/tracing
if [ ! -e $TRACING/README ]; then
    TRACING=/sys/kernel/tracing
    mount -t tracefs tracefs $TRACING 2> /dev/null || die "no tracefs: use the vmstat counters (vmstat.sh)"
    MOUNTED=$TRACING
fi
INSTANCE=$TRACING/instances/$GROUP
OWNED='' READER='' CHILD='' STARTED='' FINISHED=''
EVENTS=$TRACING/dynamic_events
[ -e $EVENTS ] || EVENTS=$TRACING/kprobe_events

cleanup() {
    trap - EXIT HUP INT TERM
    for pid in $CHILD $READER; do
        kill "$pid" 2> /dev/null || :
        wait "$pid" 2> /dev/null || :
    done
    if [ -n "$OWNED" ]; then
        { echo 0 > "$INSTANCE/tracing_on"; echo 0 > "$INSTANCE/events/enable"; rmdir "$INSTANCE"; } || :
        for name in vb grab_fast grab put; do
            ! grep -q ":$GROUP/$name " "$EVENTS" || echo "-:$GROUP/$name" >> "$EVENTS" || :
        done
        ! grep -q ":$GROUP/" "$EVENTS" || say "the events $GROUP/* stay; is another tracer using them?"
    fi
    [ -z "$MOUNTED" ] || umount "$MOUNTED" 2> /dev/null || :
    [ -z "$STARTED" ] || [ -n "$FINISHED" ] || say "$OUT is not finished, and the importer will say so"
}
trap cleanup EXIT
trap 'cleanup; exit 129' HUP
trap 'cleanup; exit 130' INT
trap 'cleanup; exit 143' TERM

NO_PROBES='this kernel has no kprobe or fprobe events, or is locked down: use the vmstat counters (vmstat.sh)'
[ -w "$EVENTS" ] || die "$NO_PROBES"
! grep -q ":$GROUP/" "$EVENTS" || die "events of group $GROUP exist: is a recording running? (record.md)"

# Which functions see every pin: mm/gup.c, v6.12; before commit f442fa614137 (in v6.10 and 6.9 stable) v6.1's.
SYMBOLS=$(grep ' [a-zA-Z] \(try_grab_\|gup_put_folio\|empty_zero_page$\)' /proc/kallsyms) || :
symbol() { echo "$SYMBOLS" | grep " [a-zA-Z] $1\$"; }
if symbol try_grab_folio_fast > /dev/null; then
    PROBES='grab_fast:try_grab_folio_fast grab:try_grab_folio put:gup_put_folio'
else
    PROBES='grab_fast:try_grab_folio grab:try_grab_page put:gup_put_folio'
fi
for probe in $PROBES; do
    function=${probe#*:}
    symbol "$function" > /dev/null ||
        die "the kernel has no function $function (inlined or renamed): its pins would be missed"
    ! symbol "$function\.\(part\|isra\|constprop\)[.0-9]*" > /dev/null ||
        die "the compiler split $function in parts: its pins would be missed"
done

RELEASE=$(uname -r)
MAJOR=${RELEASE%%.*}; MINOR=${RELEASE#*.}; MINOR=${MINOR%%[!0-9]*}
since() { [ "$MAJOR" -gt "$1" ] || { [ "$MAJOR" -eq "$1" ] && [ "$MINOR" -ge "$2" ]; }; }
# FOLL_PIN: 0x40000 in include/linux/mm_types.h, v6.1; 0x80000 since commit 2c2241081f7d (in v6.3).
if since 6 3; then PIN=0x80000; else PIN=0x40000; fi

# fprobe events (since 6.5) miss nothing. A kprobe that hits while another one is handled is skipped.
KIND=p
if grep -q ' f\[:\[' $TRACING/README && [ -e $TRACING/dynamic_events ]; then
    KIND=f
    traceable=$(grep '^\(try_grab_\|gup_put_folio\|vmstat_refresh\)' $TRACING/available_filter_functions) || :
    for probe in $PROBES vb:vmstat_refresh; do
        echo "$traceable" | grep -q "^${probe#*:}\( \|\$\)" || KIND=p
    done
fi

[ $KIND = f ] || [ -w $TRACING/kprobe_events ] || die "$NO_PROBES"

# The folder is the lock: of two recordings that start at once, one fails here.
mkdir "$INSTANCE" 2> /dev/null || die "$INSTANCE cannot be made: is another recording running? (record.md)"
OWNED=1
echo 0 > "$INSTANCE/tracing_on"
{ echo "$BUFFER_KB" > "$INSTANCE/buffer_size_kb"; } 2> /dev/null ||
    die "a ring of $BUFFER_KB KiB on each CPU cannot be had; set BUFFER_KB"
echo global > "$INSTANCE/trace_clock"

# struct page: flags at 0, compound_head at 8; the second page's flags at 64 hold the order (since 6.6).
FIELDS='head=+8($arg1):x64 pflags=+0($arg1):x64 f1=+64($arg1):x64'
define() { # NAME PLACE ARGUMENTS
    echo "$KIND:$GROUP/$1 $2 page=\$arg1:x64 $3 $FIELDS" >> "$EVENTS" 2> /dev/null
}
# A grab can fail (FOLL_LONGTERM on ZONE_MOVABLE in GUP-fast), which only its return value tells: of grab_fast
# a folio or NULL, of grab (since 6.2) 0 or an error. Arguments in a return event: since 6.9.
for probe in $PROBES; do
    name=${probe%%:*} function=${probe#*:}
    arguments='refs=$arg2:s32 flags=$arg3:x32'
    [ "$function" != try_grab_page ] || arguments='flags=$arg2:x32'
    filter="flags & $PIN"
    case $KIND$name in
        fgrab_fast) result=x64 good=' && ret != 0' ;;
        fgrab) result=s32 good=' && ret == 0' ;;
        *) result='' good='' ;;
    esac
    if [ -n "$result" ] && define "$name" "$function%return" "$arguments ret=\$retval:$result"; then
        filter="$filter$good"
    else
        define "$name" "$function" "$arguments" ||
            die "the kernel refused an event on $function (see $TRACING/error_log)"
    fi
    echo "$filter" > "$INSTANCE/events/$GROUP/$name/filter"
done

# Where vmemmap begins: one event on a function that runs only when stat_refresh is read. A hot one is a risk
# to patch: record.md. Needs KALLSYMS_ALL; x86 only.
BASE=
vb='vmstat_refresh vmemmap=@vmemmap_base:x64 phys=@phys_base:s64'
if echo "$KIND:$GROUP/vb $vb" >> "$EVENTS" 2> /dev/null; then
    echo 1 > "$INSTANCE/tracing_on"
    echo 1 > "$INSTANCE/events/$GROUP/vb/enable"
    cat /proc/sys/vm/stat_refresh > /dev/null 2>&1 || :
    echo 0 > "$INSTANCE/events/$GROUP/vb/enable"
    echo 0 > "$INSTANCE/tracing_on"
    BASE=$(grep -m 1 ' vb: .* vmemmap=0x' "$INSTANCE/trace") || :
    echo > "$INSTANCE/trace"
fi
[ -n "$BASE" ] || say "vmemmap_base cannot be read; the importer will infer it"
# The page of zeros is grabbed like any other but not pinned or counted, since commit c8070b787519 (in v6.5).
# Its struct page: __pa_symbol(), arch/x86/mm/physaddr.c, and 64 bytes a page. Shells have signed 64 bits.
ZERO=
zero=$(symbol empty_zero_page) || zero=
if since 6 5 && [ -n "$BASE" ] && [ -n "$zero" ]; then
    phys=${BASE##*phys=}
    zero=${zero%% *}; zero=0x${zero#????????}
    base=${BASE##*vmemmap=0x}; base=${base%% *}; high=0x${base%????????}; low=0x${base#????????}
    low=$((low + ((zero - 0x80000000 + phys) >> 12) * 64))
    ZERO=$(printf '0x%x%08x' $((high + (low >> 32))) $((low & 0xffffffff)))
    for probe in $PROBES; do
        at=$INSTANCE/events/$GROUP/${probe%%:*}/filter
        echo "$(cat "$at") && page != $ZERO" > "$at"
    done
fi
! since 6 5 || [ -n "$ZERO" ] ||
    say "the page of zeros is not known; its grabs will look like pins that vmstat does not count"

mkdir -m 700 "$OUT" || die "$OUT cannot be made"
STARTED=1
{ uname -r; uname -m; } > "$OUT/kernel.txt"
cat /proc/zoneinfo > "$OUT/zoneinfo.txt"
{ grep ":$GROUP/" "$EVENTS"; grep . "$INSTANCE/events/$GROUP"/*/filter; } > "$OUT/definitions.txt"
if [ -n "$BASE" ]; then echo "$BASE" > "$OUT/trace.txt"; else : > "$OUT/trace.txt"; fi
cat "$INSTANCE/trace_pipe" >> "$OUT/trace.txt" &
READER=$!

counters() { # the counters are per CPU and folded lazily; reading stat_refresh folds them
    cat /proc/sys/vm/stat_refresh > /dev/null 2>&1 || :
    cat /proc/vmstat > "$OUT/vmstat.$1.txt"
}
for probe in $PROBES; do
    echo 1 > "$INSTANCE/events/$GROUP/${probe%%:*}/enable"
done
# Two readings inside the recording and two around it: the pins recorded lie between their differences.
counters before
echo 1 > "$INSTANCE/tracing_on"
counters start
STATUS=0
if [ -n "$SECONDS_" ]; then
    sleep "$SECONDS_" & # in the background, so that a signal to this script alone ends it at once
    CHILD=$!
    wait $CHILD || STATUS=$?
    CHILD=
else
    "$@" || STATUS=$? # in the foreground: it has the terminal and its signals
fi
sleep 3 # io_uring and the like drop their pins after their process has ended
counters end
echo 0 > "$INSTANCE/tracing_on"
counters after

# trace_pipe ends by itself once it is empty and tracing is off; not if nothing was ever in it.
entries() { cat "$INSTANCE"/per_cpu/cpu*/stats | awk '$1 == "entries:" { n += $2 } END { print n + 0 }'; }
left=-1
while kill -0 $READER 2> /dev/null; do
    now=$(entries)
    [ "$now" != 0 ] || [ "$left" != 0 ] || break
    left=$now
    sleep 1
done
kill $READER 2> /dev/null || :
wait $READER 2> /dev/null || :
READER=
grep . "$INSTANCE"/per_cpu/cpu*/stats > "$OUT/stats.txt"
: > "$OUT/kprobe_profile.txt"
[ $KIND = f ] ||
    awk '$1 == "grab_fast" || $1 == "grab" || $1 == "put"' $TRACING/kprobe_profile > "$OUT/kprobe_profile.txt"
[ -z "${SUDO_UID:-}" ] || chown -R "$SUDO_UID" "$OUT" || :
FINISHED=1
cleanup

[ $STATUS = 0 ] || say "the command ended with status $STATUS"
grep -qv ' vb: ' "$OUT/trace.txt" || say "nothing was pinned meanwhile"
[ $KIND = f ] || say "kprobe events were used: they may miss hits, and the importer will say whether"
echo "recorded in $OUT; now:  workbench trace import $OUT -o pins.parquet"
