/*
 * The machine below every variant: frames, a user mapping, a device, an allocator, checks. All of it is the
 * workbench's own code; it needs no other header, so that a compiler without a C library's headers takes it.
 *
 * A check that fires ends the run (trap), as an oops, a BUG_ON() or a WARN_ON_ONCE() would be seen. What only
 * CONFIG_DEBUG_VM or KASAN would see fires when world.debug is set. What nobody sees is found afterwards by
 * comparing the descriptors with what really happened (wrong).
 */
#ifndef WORLD_H
#define WORLD_H

#ifdef __CHECKER__			/* sparse */
#define __bitwise __attribute__((bitwise))
#define __force __attribute__((force))
#else
#define __bitwise
#define __force
#endif

int printf(const char *format, ...);
int vprintf(const char *format, __builtin_va_list args);
int fflush(void *stream);
void _exit(int status) __attribute__((noreturn));

typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

enum { EFAULT = 14, ENOMEM = 12, EOPNOTSUPP = 95 };
enum { FOLL_WRITE = 1, FOLL_LONGTERM = 2 };	/* own values; only the call sites' names matter */

#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define BASE_PFN 0x100000UL		/* the first frame, at 4 GiB; bit 8 of every pfn here is clear */
#define NR_FRAMES 64

/* What the process has mapped, in pages of its address space. */
enum {
	NR = 4,				/* pages that a call site asks for */
	UADDR = 0,			/* four small pages */
	UADDR_OTHER = 4,		/* four more */
	UADDR_LARGE = 8,		/* one folio of order 2 */
	UADDR_END = 12,			/* two small pages, then nothing is mapped */
	NR_USER = 14,
	NR_UNMOVABLE = 32,		/* a page that a longterm pin migrates moves up by so many frames */
};

struct frame {
	bool mapped;			/* by the process */
	bool movable;			/* in ZONE_MOVABLE */
	bool large;
	bool written;			/* by the device or the CPU, through a pin or a reference */
	bool gone;			/* hot-removed */
};

struct object {				/* of the allocator */
	unsigned char bytes[128] __attribute__((aligned(128)));
};

struct region {				/* memory that may be touched */
	const unsigned char *start;
	unsigned long bytes;
	bool freed;
};

static struct {
	struct frame frames[NR_FRAMES];
	unsigned long pfn_of[NR_USER];
	struct region regions[NR_FRAMES + 2];
	struct object objects[NR_FRAMES];
	int nr_regions, nr_objects, nr_live, pool;
	bool debug, dax, went_wrong, touched_freed;
} world;

/* -- what is seen ------------------------------------------------------------------------------------- */

static inline void say(const char *kind, const char *check, const char *format, __builtin_va_list args)
{
	printf("%s %s: ", kind, check);
	vprintf(format, args);
	printf("\n");
	fflush(NULL);
}

/* A check that every kernel has. */
static inline void trap(const char *check, const char *format, ...)
{
	__builtin_va_list args;

	__builtin_va_start(args, format);
	say("TRAP", check, format, args);
	_exit(3);
}

/* A check that only a debug kernel has. */
static inline void debug_trap(const char *check, const char *format, ...)
{
	__builtin_va_list args;

	if (!world.debug)
		return;
	__builtin_va_start(args, format);
	say("TRAP", check, format, args);
	_exit(3);
}

/* What no check saw. */
static inline void wrong(const char *format, ...)
{
	__builtin_va_list args;

	__builtin_va_start(args, format);
	say("WRONG", "silent", format, args);
	world.went_wrong = true;
}

/* -- memory ------------------------------------------------------------------------------------------- */

static inline void add_region(const void *start, unsigned long bytes)
{
	struct region *region = &world.regions[world.nr_regions++];

	region->start = start;
	region->bytes = bytes;
	region->freed = false;
}

/* Every load and store of a descriptor comes through here: it faults where nothing is. */
static inline void touch(const void *at, unsigned long bytes)
{
	const unsigned char *start = at;
	int i;

	for (i = 0; i < world.nr_regions; i++) {
		const struct region *region = &world.regions[i];

		if (start < region->start || start + bytes > region->start + region->bytes)
			continue;
		if (region->freed) {
			debug_trap("KASAN", "use-after-free");
			world.touched_freed = true;
		}
		return;
	}
	if ((unsigned long)at < PAGE_SIZE)
		trap("Oops", "NULL pointer dereference");
	trap("Oops", "bad address: no descriptor there");
}

static inline unsigned long load_long(const void *base, unsigned long offset)
{
	unsigned long value;

	touch((const char *)base + offset, sizeof(value));
	__builtin_memcpy(&value, (const char *)base + offset, sizeof(value));	/* may be odd, as x86 allows */
	return value;
}

static inline void store_long(void *base, unsigned long offset, unsigned long value)
{
	touch((char *)base + offset, sizeof(value));
	__builtin_memcpy((char *)base + offset, &value, sizeof(value));
}

static inline int load_int(const void *base, unsigned long offset)
{
	int value;

	touch((const char *)base + offset, sizeof(value));
	__builtin_memcpy(&value, (const char *)base + offset, sizeof(value));
	return value;
}

static inline void store_int(void *base, unsigned long offset, int value)
{
	touch((char *)base + offset, sizeof(value));
	__builtin_memcpy((char *)base + offset, &value, sizeof(value));
}

/* From gup_fast's pool, which cannot be refilled with interrupts off: NULL when it is empty. */
static inline void *pool_take(unsigned long bytes)
{
	struct object *object;

	if (!world.pool)
		return NULL;
	world.pool--;
	object = &world.objects[world.nr_objects++];
	add_region(object, bytes);
	world.nr_live++;
	return object;
}

/* Freed objects are not handed out again, as in KASAN's quarantine. */
static inline void pool_free(void *object)
{
	int i;

	for (i = 0; i < world.nr_regions; i++)
		if (world.regions[i].start == object)
			world.regions[i].freed = true;
	world.nr_live--;
}

static inline struct frame *frame_of(unsigned long pfn)
{
	return pfn - BASE_PFN < NR_FRAMES ? &world.frames[pfn - BASE_PFN] : NULL;
}

/* -- the user mapping; each variant says how its descriptors count ------------------------------------ */

static int desc_refs(unsigned long pfn);	/* all references of the frame's descriptor, that of the mapping too */
static int desc_pins(unsigned long pfn);	/* exact pins, where they are counted apart */
static bool desc_dirty(unsigned long pfn);
static bool desc_get(unsigned long pfn);	/* what the kernel's own code does; false: nothing to get */
static void desc_put(unsigned long pfn);
static void desc_move(unsigned long from, unsigned long to);	/* migration */
static void desc_init(void);

/* The pfn of a page of the process, 0 where nothing is mapped. */
static inline unsigned long user_pfn(unsigned long uaddr)
{
	return uaddr < NR_USER ? world.pfn_of[uaddr] : 0;
}

/* FOLL_LONGTERM: refused on DAX; what is in ZONE_MOVABLE is migrated out of it first. */
static inline long prepare_longterm(unsigned long uaddr, long nr, unsigned int gup_flags)
{
	unsigned long u;

	if (!(gup_flags & FOLL_LONGTERM))
		return 0;
	if (world.dax)
		return -EOPNOTSUPP;
	for (u = uaddr; u < uaddr + nr && user_pfn(u); u++) {
		struct frame *from = frame_of(world.pfn_of[u]), *to = from + NR_UNMOVABLE;

		if (!from->movable)
			continue;
		*to = *from;
		to->movable = false;
		from->mapped = false;
		desc_move(world.pfn_of[u], world.pfn_of[u] + NR_UNMOVABLE);
		world.pfn_of[u] += NR_UNMOVABLE;
	}
	return 0;
}

/* -- the device --------------------------------------------------------------------------------------- */

/* Whether somebody beside the mapping has a reference; a large folio's mapping has one for each page. */
static inline bool is_held(unsigned long pfn)
{
	const struct frame *frame = frame_of(pfn);

	return frame->mapped && desc_refs(pfn) > (frame->large ? NR : 1);
}

static inline void write_frame(unsigned long pfn, const char *who)
{
	struct frame *frame = frame_of(pfn);

	if (!frame || (!frame->mapped && !desc_refs(pfn)))
		wrong("%s wrote to a pfn that nobody pinned", who);
	else
		frame->written = true;
}

/* DMA into one page. */
static inline void device_write(unsigned long pfn)
{
	write_frame(pfn, "the device");
}

/* Memory is to go: what was pinned longterm stays, and must not be in ZONE_MOVABLE. */
static inline void time_passes(void)
{
	unsigned long pfn;

	for (pfn = BASE_PFN; pfn < BASE_PFN + NR_FRAMES; pfn++)
		if (frame_of(pfn)->movable && is_held(pfn)) {
			wrong("a long-lived pin holds a page in ZONE_MOVABLE: it can be neither migrated nor offlined");
			return;
		}
}

static inline bool lost_data(unsigned long pfn)
{
	return frame_of(pfn)->written && !desc_dirty(pfn);
}

/* The memory goes away: it is unmapped, and whoever removes it waits for the other references to go. */
static inline void hot_remove(unsigned long uaddr, long nr)
{
	unsigned long u, pfn;

	for (u = uaddr; u < uaddr + nr; u++) {
		pfn = user_pfn(u);
		if (lost_data(pfn))
			wrong("data lost: written, but the page was not dirty when it was released");
		frame_of(pfn)->mapped = false;
		desc_put(pfn);
		if (desc_refs(pfn) > 0)
			trap("hung task", "hot-remove waits for ever: the page is referenced still");
		if (desc_refs(pfn) < 0)
			trap("hung task", "hot-remove waits for ever: the refcount is below 0 and never gets to it");
		if (desc_pins(pfn))
			wrong("pin counts are off: the page looks pinned, or unpinned, and is not");
		frame_of(pfn)->gone = true;
		world.pfn_of[u] = 0;
	}
}

/* The call site says how many pages it holds, for RLIMIT_MEMLOCK: each must count once. */
static inline void charge(long nr)
{
	unsigned long pfn;
	long held = 0;

	for (pfn = BASE_PFN; pfn < BASE_PFN + NR_FRAMES; pfn++)
		held += is_held(pfn);
	if (nr != held)
		wrong("%ld pages are charged, %ld are held", nr, held);
}

/* The call site counted something that has one right answer. */
static inline void expect_count(long nr, long expected, const char *what)
{
	if (nr != expected)
		wrong("%ld %s counted, there are %ld", nr, what, expected);
}

/* -- XArray: an odd entry is a value, not a pointer ----------------------------------------------------- */

struct xarray {
	void *slots[16];
};

static inline void xa_store(struct xarray *xa, unsigned long index, void *entry)
{
	if (((unsigned long)entry & 3) == 2)
		trap("WARN_ON_ONCE", "xa_store: an internal entry");
	xa->slots[index] = entry;
}

static inline void *xa_load(const struct xarray *xa, unsigned long index)
{
	return xa->slots[index];
}

static inline bool xa_is_value(const void *entry)
{
	return (unsigned long)entry & 1;
}

/* -- before and after a call site --------------------------------------------------------------------- */

static inline void world_begin(bool debug, bool dax, int pool)
{
	unsigned long u;

	world.debug = debug;
	world.dax = dax;
	world.pool = pool;
	for (u = 0; u < NR_USER; u++) {
		world.pfn_of[u] = BASE_PFN + u;
		world.frames[u].mapped = true;
		world.frames[u].movable = true;
		world.frames[u].large = u >= UADDR_LARGE && u < UADDR_LARGE + 4;
	}
	desc_init();
}

/* Life goes on: another gup of each page, then the process exits; what is left over went wrong silently. */
static inline void world_end(void)
{
	unsigned long u, pfn;
	int refs = 0, pins = 0, lost = 0;

	for (u = 0; u < NR_USER; u++) {
		pfn = user_pfn(u);
		if (!pfn)
			continue;
		if (!desc_get(pfn))
			trap("WARN_ON_ONCE", "later, at the next gup of the page: its refcount is 0 or less");
		desc_put(pfn);
		lost += lost_data(pfn);
	}
	for (u = 0; u < NR_USER; u++) {
		pfn = user_pfn(u);
		if (!pfn)
			continue;
		frame_of(pfn)->mapped = false;
		desc_put(pfn);
	}
	for (u = 0; u < NR_USER; u++) {
		pfn = user_pfn(u);
		if (!pfn || (frame_of(pfn)->large && u != UADDR_LARGE))
			continue;
		refs += desc_refs(pfn) > 0 ? desc_refs(pfn) : -desc_refs(pfn);
		pins += desc_pins(pfn) > 0 ? desc_pins(pfn) : -desc_pins(pfn);
	}
	if (lost)
		wrong("data lost: written, but the page was not dirty when it was released");
	if (refs)
		wrong("%d references leaked: the pages are never freed", refs);
	if (pins)
		wrong("pin counts are off by %d: pages look pinned, or unpinned, and are not", pins);
	if (world.nr_live)
		wrong("%d descriptors of pins leaked", world.nr_live);
	if (world.touched_freed)
		wrong("a freed descriptor was used");
}

#endif
