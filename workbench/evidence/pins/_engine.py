"""The loop of a replay: references in, counts of folios, descriptors and map nodes out, event by event.

Memory goes by distinct folios (and, by page, by distinct pages), never by events. Nodes of a radix map are
counted by identity: a node of a level exists while some entry below it does, so every change costs a walk up
to the first node that other entries share. Import this module late: Numba compiles it on first use and keeps
the result where it may write.
"""

from __future__ import annotations

import numpy as np

from workbench.evidence._jit import jit

_jit = jit(nogil=True, error_model="numpy")  # nogil: the next batch is read meanwhile


# Columns of the folio table: a row per slot, key -1 where it is free.
KEY, COUNT, SINCE, LEAF, LINK = range(5)
USED = LEAF  # by page: how many pages of the folio have an entry; the pages have the leaves
NR_COLUMNS = 5
# Columns of a page and of a node; both are numbered in the order of their first use.
PAGE_KEY, PAGE_LIVE, PAGE_NEXT, PAGE_LEAF = range(4)
NODE_KEY, NODE_PARENT, NODE_LIVE = range(3)

# The counters, one int64 each.
(EVENTS, DROPPED, ACQUIRED, RELEASED, NEGATIVE, NEGATIVE_EVENTS, FOLIOS, LIVE, REFS, ENTRIES, NODES, HEIGHT,
 TRANSITIONS, PEAK_LIVE, PEAK_LIVE_AT, PEAK_REFS, PEAK_REFS_AT, PEAK_ENTRIES, PEAK_ENTRIES_AT, PEAK_NODES,
 PEAK_NODES_AT, PEAK_HEIGHT, ALLOCATED, FREED, BORN, DIED, NR_NODES, NR_PAGES, FIRST_NS, LAST_NS, BACKWARDS,
 BIN_SHIFT, ENTRIES_BORN, MET) = range(34)  # fmt: skip
NR_COUNTERS = 34

# Fields of a time bin: sums, then the most in it, then what it ends with, then the event with the most
# entries and the nodes at that event.
(B_EVENTS, B_PINS, B_UNPINS, B_BORN, B_DIED, B_ALLOCATED, B_FREED, B_MAX_LIVE, B_MAX_REFS, B_MAX_ENTRIES,
 B_MAX_NODES, B_LIVE, B_REFS, B_ENTRIES, B_NODES, B_AT, B_NODES_AT) = range(17)  # fmt: skip
NR_FIELDS = 17
NR_BINS = 1024  # a trace fills between half and all of them, whatever its length

# Lifetimes in bins of an eighth of an octave: below 16 ns exact, above within 12.5 %.
NR_LIFE_BINS = 64 * 8
# How a row came out.
NOT_A_PIN, AGAIN, FIRST, UNPIN, LAST = range(5)
# A node's key is its prefix, and its level in the low bits.
_LEVEL_BITS = 6
MAX_LEVELS = 1 << _LEVEL_BITS
MAX_PFN = 1 << 52  # 64-bit physical addresses have no page beyond; keys stay positive
MAX_NS = 1 << 62


@_jit
def _place(table, key):
    slot = (key * 0x1E3779B97F4A7C15 >> 20) & (table.shape[0] - 1)
    while table[slot, 0] >= 0 and table[slot, 0] != key:
        slot = (slot + 1) & (table.shape[0] - 1)
    return slot


@_jit
def _place_of(slots, rows, key):
    """The slot of a numbered row (page or node), or where it would go."""
    slot = (key * 0x1E3779B97F4A7C15 >> 20) & (slots.size - 1)
    while slots[slot] >= 0 and rows[slots[slot], 0] != key:
        slot = (slot + 1) & (slots.size - 1)
    return slot


@_jit
def move_table(old, new):
    """Every folio into a larger table, whose keys are all -1."""
    for slot in range(old.shape[0]):
        if old[slot, 0] >= 0:
            new[_place(new, old[slot, 0])] = old[slot]


@_jit
def fill_slots(slots, rows, nr):
    """Enter the first `nr` rows into empty slots (all -1, a power of two of them)."""
    for at in range(nr):
        slots[_place_of(slots, rows, rows[at, 0])] = at


@_jit
def life_bin(ns):
    """The bin of a lifetime: 8 for each octave.

    Examples
    --------
    >>> life_bin(0), life_bin(15), life_bin(16), life_bin(1000)
    (0, 15, 16, 63)
    """
    if ns < 16:
        return max(ns, 0)
    octave = 0
    while ns >> octave >= 16:
        octave += 1
    return 8 * octave + (ns >> octave)


@_jit
def room_for_nodes(nr):
    """More nodes than `nr` pages of one folio can need, on all levels."""
    return nr + 2 * MAX_LEVELS


@_jit
def _leaf(pfn, shifts, nodes, slots, s):
    """The lowest node above a pfn; it and the nodes above it are made where they are new."""
    leaf = below = np.int64(-1)
    for level in range(shifts.size):
        key = (pfn >> shifts[level]) << _LEVEL_BITS | level
        slot = _place_of(slots, nodes, key)
        at = np.int64(slots[slot])
        new = at < 0
        if new:
            at = s[NR_NODES]
            slots[slot] = at
            nodes[at, NODE_KEY], nodes[at, NODE_PARENT], nodes[at, NODE_LIVE] = key, -1, 0
            s[NR_NODES] += 1
        if level == 0:
            leaf = at
        else:
            nodes[below, NODE_PARENT] = at
        if not new:
            break
        below = at
    return leaf


@_jit
def _levels(pfn, shifts):
    """Levels that a tree needs to reach a pfn; none for pfn 0, which its head holds."""
    if pfn == 0:
        return 0
    nr = 1
    while nr < shifts.size and pfn >> shifts[nr - 1]:
        nr += 1
    return nr


@_jit
def _enter(pfn, leaf, change, shifts, grows, nodes, per_level, per_height, s):
    """An entry comes (+1) or goes (-1): the live nodes of each level, the height, and all nodes."""
    at, level = leaf, 0
    while at >= 0:
        nodes[at, NODE_LIVE] += change
        if nodes[at, NODE_LIVE] != (1 if change > 0 else 0):
            break
        per_level[level] += change
        at = nodes[at, NODE_PARENT]
        level += 1
    s[ENTRIES] += change
    height = shifts.size
    if grows:
        per_height[_levels(pfn, shifts)] += change
        height = per_height.size - 1
        while height > 0 and per_height[height] == 0:
            height -= 1
    total = np.int64(0)
    for level in range(height):
        total += per_level[level]
    if total > s[NODES]:
        s[ALLOCATED] += total - s[NODES]
    else:
        s[FREED] += s[NODES] - total
    s[NODES], s[HEIGHT] = total, height


@_jit
def _fold(bins):
    """Two bins become one, so that the same number of bins covers twice the time."""
    half = bins.shape[0] // 2
    for k in range(half):
        a, b = bins[2 * k].copy(), bins[2 * k + 1].copy()
        for field in range(B_MAX_LIVE):
            bins[k, field] = a[field] + b[field]
        for field in range(B_MAX_LIVE, B_LIVE):
            bins[k, field] = max(a[field], b[field])
        later = b if b[B_EVENTS] else a
        for field in range(B_LIVE, B_AT):
            bins[k, field] = later[field]
        b_is_more = b[B_EVENTS] and (not a[B_EVENTS] or b[B_MAX_ENTRIES] > a[B_MAX_ENTRIES])
        bins[k, B_AT:] = b[B_AT:] if b_is_more else a[B_AT:]
    bins[half:] = 0


@_jit
def replay_block(
    start,
    ts_ns,
    page,
    folio,
    op,
    nr,
    flags,
    comm,
    is_fast,
    inside,
    pin_bit,
    longterm_bit,
    by_page,
    shifts,
    grows,
    sizes,
    stop,
    s,
    table,
    pages,
    page_slots,
    nodes,
    slots,
    per_level,
    per_height,
    peak_per_level,
    bins,
    lives,
    comms,
    paths,
    peaks,
    outcome,
):
    """Replay rows from ``start`` on, until the block ends, a table is full, or event ``stop`` is done.

    Parameters
    ----------
    ts_ns, page, folio, op, nr, flags, comm : ndarray, shape (n,)
        Columns of a trace; ``page`` and ``folio`` are int64 pfns.
    is_fast : ndarray of bool
        Rows of gup_fast.
    inside : ndarray of int64
        Where a pin names only its folio: how many pages that has; else 0. By page, such a pin takes the next
        pages of the folio that have no entry.
    by_page : bool
        An entry is a page, not a folio.
    shifts, grows : ndarray of int64, bool
        The map's levels, and whether it has only as many as its highest entry needs.
    sizes : ndarray of int64, shape (n, 4)
        For each design: descriptors in a slab, bytes of it, nodes in a slab, bytes of it (0: has none).
    stop : int
        The event after which to return; -1 for none.
    outcome : ndarray of int8, shape (n,)
        What came of each row, for whoever looks at single events.

    Returns
    -------
    int
        The row to go on with.
    """
    for i in range(start, ts_ns.size):
        outcome[i] = NOT_A_PIN
        if not flags[i] & pin_bit:
            s[DROPPED] += 1
            continue
        room = nr[i] if by_page and op[i] > 0 else 1
        if (
            5 * (s[FOLIOS] + 1) > 4 * table.shape[0]
            or s[NR_NODES] + room_for_nodes(room) > nodes.shape[0]
            or s[NR_PAGES] + room > pages.shape[0]
        ):
            return i
        # Time, and the bin that it falls into.
        if s[EVENTS] == 0:
            s[FIRST_NS] = s[LAST_NS] = ts_ns[i]
        s[BACKWARDS] += ts_ns[i] < s[LAST_NS]
        now = max(ts_ns[i], s[LAST_NS])
        s[LAST_NS] = now
        k = (now - s[FIRST_NS]) >> s[BIN_SHIFT]
        while k >= bins.shape[0]:
            _fold(bins)
            s[BIN_SHIFT] += 1
            k = (now - s[FIRST_NS]) >> s[BIN_SHIFT]
        event = s[EVENTS]
        allocated, freed, entries = s[ALLOCATED], s[FREED], s[ENTRIES]
        if bins[k, B_EVENTS] == 0:  # a bin begins with what the one before it ended with
            bins[k, B_MAX_LIVE], bins[k, B_MAX_REFS] = s[LIVE], s[REFS]
            bins[k, B_MAX_ENTRIES], bins[k, B_MAX_NODES] = s[ENTRIES], s[NODES]
            bins[k, B_AT], bins[k, B_NODES_AT] = max(event - 1, 0), s[NODES]
        # The folio.
        slot = _place(table, folio[i])
        if table[slot, KEY] < 0:
            table[slot, KEY], table[slot, COUNT] = folio[i], 0
            table[slot, LEAF], table[slot, LINK] = 0 if by_page else -1, -1
            s[FOLIOS] += 1
        count = table[slot, COUNT]
        if op[i] > 0:
            s[ACQUIRED] += nr[i]
            s[REFS] += nr[i]
            comms[comm[i], 0] += 1
            comms[comm[i], 1] += nr[i]
            outcome[i] = FIRST if count == 0 else AGAIN
            paths[int(is_fast[i]), int(count == 0), int((flags[i] & longterm_bit) != 0)] += 1
            table[slot, COUNT] = count + nr[i]
            if count == 0:
                table[slot, SINCE] = now
                s[LIVE] += 1
                s[BORN] += 1
                s[TRANSITIONS] += 1
                comms[comm[i], 2] += 1
                if not by_page:
                    if table[slot, LEAF] < 0:
                        table[slot, LEAF] = _leaf(folio[i], shifts, nodes, slots, s)
                    _enter(folio[i], table[slot, LEAF], 1, shifts, grows, nodes, per_level, per_height, s)
            if by_page:
                pfn, left = page[i], np.int64(nr[i])
                end = pfn + left
                if inside[i]:
                    pfn, end = folio[i] + table[slot, USED], folio[i] + inside[i]
                while left > 0 and pfn < end:
                    at_slot = _place_of(page_slots, pages, pfn)
                    at = np.int64(page_slots[at_slot])
                    if at < 0:
                        at = s[NR_PAGES]
                        page_slots[at_slot] = at
                        pages[at, PAGE_KEY], pages[at, PAGE_LIVE] = pfn, 0
                        pages[at, PAGE_LEAF] = _leaf(pfn, shifts, nodes, slots, s)
                        s[NR_PAGES] += 1
                    if not pages[at, PAGE_LIVE]:
                        pages[at, PAGE_LIVE], pages[at, PAGE_NEXT] = 1, table[slot, LINK]
                        table[slot, LINK] = at
                        table[slot, USED] += 1
                        left -= 1
                        _enter(pfn, pages[at, PAGE_LEAF], 1, shifts, grows, nodes, per_level, per_height, s)
                    pfn += 1
            s[MET] += s[ENTRIES] == entries
            s[ENTRIES_BORN] += s[ENTRIES] - entries
        else:
            s[RELEASED] += nr[i]
            outcome[i] = UNPIN
            left = count - nr[i]
            if left < 0:
                s[NEGATIVE] -= left
                s[NEGATIVE_EVENTS] += 1
                left = np.int64(0)
            s[REFS] -= count - left
            table[slot, COUNT] = left
            if count > 0 and left == 0:
                outcome[i] = LAST
                s[LIVE] -= 1
                s[DIED] += 1
                s[TRANSITIONS] += 1
                lives[life_bin(now - table[slot, SINCE])] += 1
                if by_page:
                    at = table[slot, LINK]
                    while at >= 0:
                        pages[at, PAGE_LIVE] = 0
                        _enter(
                            pages[at, PAGE_KEY],
                            pages[at, PAGE_LEAF],
                            -1,
                            shifts,
                            grows,
                            nodes,
                            per_level,
                            per_height,
                            s,
                        )
                        at = pages[at, PAGE_NEXT]
                    table[slot, LINK], table[slot, USED] = -1, 0
                else:
                    _enter(folio[i], table[slot, LEAF], -1, shifts, grows, nodes, per_level, per_height, s)
        # Peaks.
        if s[LIVE] > s[PEAK_LIVE]:
            s[PEAK_LIVE], s[PEAK_LIVE_AT] = s[LIVE], event
        if s[REFS] > s[PEAK_REFS]:
            s[PEAK_REFS], s[PEAK_REFS_AT] = s[REFS], event
        if s[ENTRIES] > s[PEAK_ENTRIES]:
            s[PEAK_ENTRIES], s[PEAK_ENTRIES_AT] = s[ENTRIES], event
        if s[NODES] > s[PEAK_NODES]:
            s[PEAK_NODES], s[PEAK_NODES_AT], s[PEAK_HEIGHT] = s[NODES], event, s[HEIGHT]
            for level in range(per_level.size):
                peak_per_level[level] = per_level[level] if level < s[HEIGHT] else 0
        if s[ENTRIES] != entries or s[ALLOCATED] != allocated or s[FREED] != freed:
            for design in range(sizes.shape[0]):
                total = np.int64(0)
                if sizes[design, 0]:
                    total += (s[ENTRIES] + sizes[design, 0] - 1) // sizes[design, 0] * sizes[design, 1]
                if sizes[design, 2]:
                    total += (s[NODES] + sizes[design, 2] - 1) // sizes[design, 2] * sizes[design, 3]
                if total > peaks[design, 0]:
                    peaks[design, 0], peaks[design, 1] = total, event
        # The bin; a view of its row would cost a reference count for each event.
        if s[ENTRIES] > bins[k, B_MAX_ENTRIES]:
            bins[k, B_AT], bins[k, B_NODES_AT] = event, s[NODES]
        bins[k, B_EVENTS] += 1
        bins[k, B_PINS] += op[i] > 0
        bins[k, B_UNPINS] += op[i] < 0
        bins[k, B_BORN] += outcome[i] == FIRST
        bins[k, B_DIED] += outcome[i] == LAST
        bins[k, B_ALLOCATED] += s[ALLOCATED] - allocated
        bins[k, B_FREED] += s[FREED] - freed
        bins[k, B_MAX_LIVE] = max(bins[k, B_MAX_LIVE], s[LIVE])
        bins[k, B_MAX_REFS] = max(bins[k, B_MAX_REFS], s[REFS])
        bins[k, B_MAX_ENTRIES] = max(bins[k, B_MAX_ENTRIES], s[ENTRIES])
        bins[k, B_MAX_NODES] = max(bins[k, B_MAX_NODES], s[NODES])
        bins[k, B_LIVE], bins[k, B_REFS], bins[k, B_ENTRIES], bins[k, B_NODES] = (
            s[LIVE],
            s[REFS],
            s[ENTRIES],
            s[NODES],
        )
        s[EVENTS] += 1
        if event == stop:
            return i + 1
    return ts_ns.size


@_jit
def live_entries(by_page, table, pages, nr_pages, out):
    """The pfns of all live entries into `out`, in no order."""
    n = 0
    if by_page:
        for at in range(nr_pages):
            if pages[at, PAGE_LIVE]:
                out[n] = pages[at, PAGE_KEY]
                n += 1
    else:
        for slot in range(table.shape[0]):
            if table[slot, KEY] >= 0 and table[slot, COUNT] > 0:
                out[n] = table[slot, KEY]
                n += 1
    return n


@_jit
def pool_block(ts_ns, cpu, outcome, is_fast, refill_ns, recycle, sizes, free, first_take, empty):
    """Every CPU's pool, one for each size in ``sizes``, through one block of rows.

    ``free`` (CPUs x sizes) and ``first_take`` (CPUs; -1 for a full pool) live on from block to block, and
    ``empty`` (sizes) counts the takes that found nothing.
    """
    for i in range(ts_ns.size):
        at = cpu[i]
        if outcome[i] == FIRST and is_fast[i]:
            if first_take[at] >= 0 and ts_ns[i] - first_take[at] >= refill_ns:
                first_take[at] = -1
                free[at, :] = sizes
            if first_take[at] < 0:
                first_take[at] = ts_ns[i]
            for k in range(sizes.size):
                if free[at, k] > 0:
                    free[at, k] -= 1
                else:
                    empty[k] += 1
        elif outcome[i] == LAST and recycle:
            for k in range(sizes.size):
                free[at, k] = min(free[at, k] + 1, sizes[k])
