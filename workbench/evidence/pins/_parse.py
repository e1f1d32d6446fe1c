"""The loops over bytes: lines of trace text to fixed-size records, and the balance of each folio.

One state machine reads ftrace, trace-cmd report, perf script and bpftrace lines and says which kind each
line was. Numba compiles it on first use and keeps the result where it may write. Import this module late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from workbench.evidence._jit import jit
from workbench.evidence.pins.trace import TAKE

_jit = jit()


def _intrinsic(function: Callable[..., Any]) -> Any:
    return intrinsic(function)


#: What a line says of one reference; pointers are signed, as the hardware's sign-extended addresses.
RECORD = np.dtype(
    {
        "names": ["ts_ns", "page", "folio", "pid", "comm", "nr", "gup_flags", "cpu", "probe", "order"],
        "formats": ["i8", "i8", "i8", "i4", "i4", "i4", "u4", "u2", "u1", "i1"],
    },
    align=True,
)
#: The probes as rows name them; the last where a tool prints one line for both grabs (bpftrace).
PROBES = ("grab_fast", "grab", "put", TAKE)
KINDS = ("ftrace", "trace-cmd report", "perf script", "bpftrace")
FTRACE, TRACE_CMD, PERF, BPFTRACE = range(4)
_GRAB_FAST, _GRAB, _PUT, _TAKE, _VB = range(5)
_ODD, _OTHER, _PIN, _VMEMMAP = range(4)  # what a line turned out to be

COMM_BYTES = 16  # TASK_COMM_LEN, include/linux/sched.h, v6.12; the columns of ftrace and perf are as wide
_HEAD_BYTES = 96  # name, pid, tgid and cpu end before this column
MAX_FOLIO = 1 << 34  # bytes of struct pages in a folio of order 22 and more; assumed, far above

# Slots of the scratch array that a line is parsed into.
(_TS, _CPU, _PID, _COMM, _COMM_END, _KIND, _PROBE, _PAGE, _NR, _FLAGS, _HEAD, _PFLAGS, _F1, _BASE, _SEEN) = (
    range(15)
)
NR_SLOTS = 15
_HAS_PAGE, _HAS_FLAGS, _HAS_HEAD, _HAS_PFLAGS, _HAS_F1, _HAS_BASE = 1, 2, 4, 8, 16, 32

# Slots of the state that lives as long as the file.
(LINE, NR_COMMS, OTHER, VMEMMAP, NR_VMEMMAP, NR_VMEMMAP_DIFFER, FIRST_LINE) = range(7)
NR_STATE = FIRST_LINE + 2 * len(KINDS)  # first line and number of events, for each kind


#: Event names, and functions in 6.12 (mm/gup.c) and 6.1, by the probe that they stand for. On 6.1
#: try_grab_folio() is what gup_fast calls, but the first argument means the same.
_NAMES = [
    (prefix + name, probe)
    for probe, names in (
        (_GRAB_FAST, (b"grab_fast", b"try_grab_folio_fast")),
        (_GRAB, (b"grab", b"try_grab_folio", b"try_grab_page")),
        (_PUT, (b"put", b"gup_put_folio")),
        (_VB, (b"vb",)),
    )
    for name in names
    for prefix in (b"", b"pin_")
]
#: One row for each name: its probe, its length, its bytes.
NAMES = np.array(
    [[probe, len(name), *name.ljust(32)] for name, probe in _NAMES],
    dtype=np.uint8,
)
_DIGIT = np.full(256, 99, dtype=np.int64)
for _value, _byte in enumerate(b"0123456789abcdef"):
    _DIGIT[_byte] = _DIGIT[ord(chr(_byte).upper())] = _value
#: Keys of arguments, their bytes packed into one number.
_KEY_BYTES = 7
_K_PAGE, _K_REFS, _K_FLAGS, _K_HEAD, _K_PFLAGS, _K_F1, _K_VMEMMAP = (
    int.from_bytes(key) for key in (b"page", b"refs", b"flags", b"head", b"pflags", b"f1", b"vmemmap")
)


@_intrinsic
def _at(_, buf, i):
    """``buf[i]``, where i is known not to be negative: a third off the time of a line."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.zext(builder.load(builder.gep(array.data, [arguments[1]])), ir.IntType(64))

    return types.int64(buf, types.int64), generate


@_intrinsic
def _eight_at(_, buf, i):
    """The eight bytes from i on as one number, aligned or not."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        start = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(start, ir.IntType(64).as_pointer()), align=1)

    return types.int64(buf, types.int64), generate


@_jit
def _line_end(buf, i):
    """The first newline from i on. Eight bytes at a time: a byte of `other` is 0 where one is."""
    while True:
        other = _eight_at(buf, i) ^ 0x0A0A0A0A0A0A0A0A
        if (other - 0x0101010101010101) & ~other & -0x7F7F7F7F7F7F7F80:
            break
        i += 8
    while _at(buf, i) != 10:
        i += 1
    return i


@_jit
def _hex(buf, i):
    """Hexadecimal digits from i on: their value, and the first byte after them."""
    first, value = i, np.int64(0)
    while _DIGIT[_at(buf, i)] < 16:
        value = value << 4 | _DIGIT[_at(buf, i)]
        i += 1
    return value, i if i - first <= 16 else first


@_jit
def _number(buf, i):
    """A number from i on, decimal or 0x..: its value and the first byte after it; i where there is none.

    Whatever stands behind a line's text (a newline) ends a number, so that nothing looks for the end.
    """
    first = i
    if _at(buf, i) == 48 and _at(buf, i + 1) == 120:
        value, i = _hex(buf, i + 2)
        return value, i if i > first + 2 else first
    negative = _at(buf, i) == 45
    if negative:
        i += 1
    start, value = i, np.int64(0)
    while _DIGIT[_at(buf, i)] < 10:
        value = value * 10 + _DIGIT[_at(buf, i)]
        i += 1
    return -value if negative else value, i if start < i <= start + 18 else first


@_jit
def _spaces(buf, i, e):
    while i < e and _at(buf, i) == 32:
        i += 1
    return i


@_jit
def _probe_of(names, buf, i, e):
    """The probe that the bytes i..e name, or -1."""
    for k in range(names.shape[0]):
        if names[k, 1] == e - i:
            same = 0
            while same < e - i and names[k, 2 + same] == _at(buf, i + same):
                same += 1
            if same == e - i:
                return np.int64(names[k, 0])
    return np.int64(-1)


@_jit
def _after_cpu(buf, i, e, f):
    """``d....    28.700025: grab_fast: `` behind ``[cpu]``: where the arguments start, or -1."""
    i = _spaces(buf, i, e)
    has_flags = i < e and not 48 <= _at(buf, i) <= 57
    if has_flags:
        start = i
        while i < e and _at(buf, i) != 32:
            i += 1
        if not 4 <= i - start <= 6:
            return -1, has_flags
        i = _spaces(buf, i, e)
    seconds, k = _number(buf, i)
    if k == i or k - i > 9 or seconds < 0 or k >= e or _at(buf, k) != 46:
        return -1, has_flags
    i = k + 1
    digits, frac = 0, np.int64(0)
    while i < e and 48 <= _at(buf, i) <= 57:
        frac = frac * 10 + np.int64(_at(buf, i)) - 48
        digits += 1
        i += 1
    if not 1 <= digits <= 9 or i + 1 >= e or _at(buf, i) != 58 or _at(buf, i + 1) != 32:
        return -1, has_flags
    for _ in range(9 - digits):
        frac *= 10
    f[_TS] = seconds * 1_000_000_000 + frac
    return _spaces(buf, i + 1, e), has_flags


@_jit
def _header(buf, s, e, f, at_column):
    """Find ``comm-pid [cpu] flags time:``; where the event's name starts, or -1.

    The tools pad comm to 16 bytes, so that the separator is at column 16 whatever comm holds; only
    where that fails (``at_column`` false) the first place that fits is taken.
    """
    for j in range(s + COMM_BYTES + 1 if at_column else s + 1, min(e, s + _HEAD_BYTES)):
        if _at(buf, j) != 91 or _at(buf, j - 1) != 32:  # " ["
            continue
        k = j - 1
        while k > s and _at(buf, k) == 32:
            k -= 1
        if _at(buf, k) == 41:  # (tgid)
            while k > s and _at(buf, k) != 40:
                k -= 1
            k -= 1
            while k > s and _at(buf, k) == 32:
                k -= 1
        end = k + 1
        while k >= s and 48 <= _at(buf, k) <= 57:
            k -= 1
        pid, at = _number(buf, k + 1)
        if k + 1 == end or at != end or pid > 0x7FFF_FFFF:
            continue
        if at_column and k > s + COMM_BYTES and _at(buf, k) == 45 and _at(buf, k - 1) == 32:  # perf's pid -1
            pid, k = -pid, k - 1
        if k > s and _at(buf, k) == 47:  # perf's pid/tid
            k -= 1
            while k > s and 48 <= _at(buf, k) <= 57:
                k -= 1
        dash = k >= s and _at(buf, k) == 45
        if at_column:
            if k < s + COMM_BYTES or _at(buf, s + COMM_BYTES) != (45 if dash else 32):
                continue
            if dash and k != s + COMM_BYTES:
                continue
            if not dash and _spaces(buf, s + COMM_BYTES, k + 1) != k + 1:
                continue
            comm_end = s + COMM_BYTES
        else:
            if k < s or not (dash or _at(buf, k) == 32):
                continue
            while not dash and k > s and _at(buf, k - 1) == 32:
                k -= 1
            comm_end = k
        cpu, at = _number(buf, j + 1)
        if at == j + 1 or not 0 <= cpu < 65536 or at >= e or _at(buf, at) != 93:
            continue
        event, has_flags = _after_cpu(buf, at + 1, e, f)
        if event < 0 or (has_flags and not dash):
            continue
        f[_CPU], f[_PID], f[_COMM_END] = cpu, pid, comm_end
        f[_KIND] = (FTRACE if has_flags else TRACE_CMD) if dash else PERF
        return event
    return -1


@_jit
def _arguments(buf, i, e, f):
    """``page=0x.. refs=1 ..``; a known key with an unreadable value counts as absent."""
    seen = np.int64(0)
    f[_NR] = 1  # try_grab_page() of 6.1 has no refs
    while True:
        i = _spaces(buf, i, e)
        start, key = i, np.int64(0)
        while i < e and _at(buf, i) != 61 and _at(buf, i) != 32:
            key = key << 8 | np.int64(_at(buf, i))
            i += 1
        if i >= e:
            break
        if _at(buf, i) == 32:
            continue
        if i - start > _KEY_BYTES or _at(buf, start) == 0:
            key = np.int64(0)
        value, end = _number(buf, i + 1)
        good = end > i + 1 and (end >= e or _at(buf, end) == 32)
        i = end
        while i < e and _at(buf, i) != 32:
            i += 1
        if key == _K_PAGE and good:
            f[_PAGE] = value
            seen |= _HAS_PAGE
        elif key == _K_REFS:
            f[_NR] = value if good else 0
        elif key == _K_FLAGS and good:
            f[_FLAGS] = value
            seen |= _HAS_FLAGS
        elif key == _K_HEAD and good:
            f[_HEAD] = value
            seen |= _HAS_HEAD
        elif key == _K_PFLAGS and good:
            f[_PFLAGS] = value
            seen |= _HAS_PFLAGS
        elif key == _K_F1 and good:
            f[_F1] = value
            seen |= _HAS_F1
        elif key == _K_VMEMMAP and good:
            f[_BASE] = value
            seen |= _HAS_BASE
    f[_SEEN] = seen


@_jit
def _event_line(buf, s, e, f, names):
    i = np.int64(-1)
    if e - s > COMM_BYTES:
        i = _header(buf, s, e, f, True)
    if i < 0:
        i = _header(buf, s, e, f, False)
    if i < 0:
        return _ODD
    f[_COMM] = s
    start = i
    while i < e and _at(buf, i) != 32:
        i += 1
    if i - start < 2 or _at(buf, i - 1) != 58:  # "name:"; the function tracer has none
        return _ODD
    group = np.int64(start)
    for k in range(start, i - 1):
        group = np.int64(k + 1) if _at(buf, k) == 58 else group
    probe = _probe_of(names, buf, group, i - 1)
    i = _spaces(buf, i, e)
    if i < e and _at(buf, i) == 40:  # (symbol+0x0/0x90) or (address)
        symbol = i + 1
        while i < e and _at(buf, i) != 43 and _at(buf, i) != 41 and _at(buf, i) != 32:
            i += 1
        if probe < 0:
            probe = _probe_of(names, buf, symbol, i)
        while i < e and _at(buf, i) != 41:
            i += 1
        i += 1
    if probe < 0:
        return _OTHER
    f[_PROBE] = probe
    _arguments(buf, i, e, f)
    if probe == _VB:
        return _VMEMMAP if f[_SEEN] & _HAS_BASE else _OTHER
    needed = _HAS_PAGE | _HAS_FLAGS
    good = f[_SEEN] & needed == needed and 1 <= f[_NR] <= 0x7FFF_FFFF and 0 <= f[_FLAGS] <= 0xFFFF_FFFF
    return _PIN if good else _ODD


@_jit
def _bpftrace_line(buf, s, e, f):
    """``ns cpu pid comm A|R page nr flags``, from both ends because comm may hold spaces."""
    i = s
    for slot in (_TS, _CPU, _PID):
        value, at = _number(buf, i)
        if at == i or at >= e or _at(buf, at) != 32 or value < 0:
            return _ODD
        f[slot] = value
        i = at + 1
    k = e
    for slot in (_FLAGS, _NR, _PAGE):
        end = k
        while k > i and _at(buf, k - 1) != 32:
            k -= 1
        value, at = _number(buf, k) if slot == _NR else _hex(buf, k)
        if at != end or at == k or k <= i:
            return _ODD
        f[slot] = value
        k -= 1
    op = _at(buf, k - 1)
    if k - 2 < i or _at(buf, k - 2) != 32 or not (op == 65 or op == 82):
        return _ODD
    f[_COMM], f[_COMM_END], f[_KIND] = i, k - 2, BPFTRACE
    f[_PROBE] = _PUT if op == 82 else _TAKE
    f[_SEEN] = 0
    good = 1 <= f[_NR] <= 0x7FFF_FFFF and 0 <= f[_FLAGS] <= 0xFFFF_FFFF
    return _PIN if good and f[_CPU] < 65536 and f[_PID] <= 0x7FFF_FFFF else _ODD


@_jit
def _slot(table, comms, low, high, length):
    """Where a name is in the hash table, or where it would go."""
    slot = ((low ^ (high * 31) ^ length) * 0x1E3779B97F4A7C15 >> 20) & (table.size - 1)
    while table[slot] >= 0:
        code = table[slot]
        if comms[code, 0] == low and comms[code, 1] == high and comms[code, 2] == length:
            break
        slot = (slot + 1) & (table.size - 1)
    return slot


@_jit
def fill_table(table, comms, nr):
    """Put the first `nr` names into an empty hash table (all -1, a power of two long)."""
    for code in range(nr):
        table[_slot(table, comms, comms[code, 0], comms[code, 1], comms[code, 2])] = code


@_jit
def _comm_code(buf, s, e, comms, table, state):
    s = _spaces(buf, s, e)  # leading blanks are padding
    e = min(e, s + COMM_BYTES)
    low, high = np.int64(0), np.int64(0)
    for k in range(s, e):
        if k - s < 8:
            low |= np.int64(_at(buf, k)) << (8 * (k - s))
        else:
            high |= np.int64(_at(buf, k)) << (8 * (k - s - 8))
    slot = _slot(table, comms, low, high, e - s)
    if table[slot] < 0:
        code = state[NR_COMMS]
        table[slot] = code
        comms[code, 0], comms[code, 1], comms[code, 2] = low, high, e - s
        state[NR_COMMS] += 1
    return table[slot]


@_jit
def _is_mask(head):
    """Whether a tail's word is a mask: compound_info of 7.x, where sizeof(struct page) is a power of two."""
    size = -head
    return 0 < size <= MAX_FOLIO and size & (size - 1) == 0


@_jit
def _store(row, f, comm, head_bit, order_in_f1):
    page, seen, folio, order = f[_PAGE], f[_SEEN], f[_PAGE], np.int64(-1)
    if seen & _HAS_HEAD and f[_HEAD] & 1:  # a tail; compound_head(), include/linux/page-flags.h, v6.12
        head = f[_HEAD] - 1
        folio = page & head if _is_mask(head) else head
    elif seen & _HAS_PFLAGS:
        if f[_PFLAGS] >> head_bit & 1 == 0:
            order = np.int64(0)
        elif order_in_f1 and seen & _HAS_F1:
            order = f[_F1] & 0xFF
    row.ts_ns, row.page, row.folio = f[_TS], page, folio
    row.pid, row.comm, row.nr = f[_PID], comm, f[_NR]
    row.gup_flags, row.cpu, row.probe = f[_FLAGS], f[_CPU], f[_PROBE]
    row.order = order if order < 64 else -1


@_jit
def _is_frame(buf, s, e):
    """Whether the line is a stack's: `` => function`` (ftrace) or tab, spaces, address (perf)."""
    if e - s > 3 and _at(buf, s) == 32 and _at(buf, s + 1) == 61 and _at(buf, s + 2) == 62:
        return True
    return _at(buf, s) == 9 and _DIGIT[_at(buf, _spaces(buf, s + 1, e))] < 16


@_jit
def parse_block(buf, pos, end, names, rows, odd, comms, table, state, head_bit, order_in_f1):
    """Parse the whole lines in ``buf[pos:end]``, until one of the outputs is full.

    Parameters
    ----------
    buf : ndarray of uint8
        ``buf[end - 1]`` is a newline, and 8 bytes or more follow it.
    rows : ndarray of RECORD
        The references found.
    odd : ndarray of int64, shape (n, 3)
        Lines that are none: first byte, end, line number.
    comms, table : ndarray
        Names by code, and the hash table over them.
    state : ndarray of int64, shape (NR_STATE,)
        Counters that go on from block to block.
    head_bit, order_in_f1 : int, bool
        Where the kernel keeps PG_head, and whether a folio's order is the low byte of its second flags word.

    Returns
    -------
    pos, nr_rows, nr_odd : int
    """
    f = np.zeros(NR_SLOTS, dtype=np.int64)
    nr_rows = nr_odd = 0
    while pos < end and nr_rows < rows.size and nr_odd < odd.shape[0]:
        if state[NR_COMMS] == comms.shape[0]:
            break
        state[LINE] += 1
        s, e = pos, _line_end(buf, pos)
        pos = e + 1
        if e > s and _at(buf, e - 1) == 13:
            e -= 1
        if s == e:
            continue
        found = _ODD
        if 48 <= _at(buf, s) <= 57:
            found = _bpftrace_line(buf, s, e, f)
        if found == _ODD:
            found = _event_line(buf, s, e, f, names)
        if found == _ODD:
            if not _is_frame(buf, s, e):
                odd[nr_odd, 0], odd[nr_odd, 1], odd[nr_odd, 2] = s, e, state[LINE]
                nr_odd += 1
            continue
        kind = FIRST_LINE + 2 * f[_KIND]
        if state[kind + 1] == 0:
            state[kind] = state[LINE]
        state[kind + 1] += 1
        if found == _PIN:
            comm = _comm_code(buf, f[_COMM], f[_COMM_END], comms, table, state)
            _store(rows[nr_rows], f, comm, head_bit, order_in_f1)
            nr_rows += 1
        elif found == _VMEMMAP:
            if state[NR_VMEMMAP] and state[VMEMMAP] != f[_BASE]:
                state[NR_VMEMMAP_DIFFER] += 1
            state[VMEMMAP] = f[_BASE]
            state[NR_VMEMMAP] += 1
        else:
            state[OTHER] += 1
    return pos, nr_rows, nr_odd


@_jit
def _place(keys, key):
    slot = (key * 0x1E3779B97F4A7C15 >> 20) & (keys.size - 1)
    while keys[slot] >= 0 and keys[slot] != key:
        slot = (slot + 1) & (keys.size - 1)
    return slot


@_jit
def rehash(keys, counts, new_keys, new_counts):
    """Move a table of counts into a larger one (keys all -1, a power of two long)."""
    for slot in range(keys.size):
        if keys[slot] >= 0:
            new = _place(new_keys, keys[slot])
            new_keys[new], new_counts[new] = keys[slot], counts[slot]


@_jit
def add_counts(folio, change, keys, counts):
    """Add each change to its folio's count, never below 0.

    Returns
    -------
    new, negative : int
        Folios not seen before, and references dropped that nobody had taken.
    """
    new = negative = np.int64(0)
    for k in range(folio.size):
        slot = _place(keys, folio[k])
        if keys[slot] < 0:
            keys[slot] = folio[k]
            new += 1
        count = counts[slot] + change[k]
        if count < 0:
            negative -= count
            count = np.int64(0)
        counts[slot] = count
    return new, negative
