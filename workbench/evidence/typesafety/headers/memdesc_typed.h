/* title: memdescs: folio, slab, ptdesc */
/* designs: memdesc8, memdesc16, memdesc32 */
/* about: a page is one word that leads to a folio, slab or ptdesc of its own type; gup works on folios */
#include "world.h"

struct page {
	unsigned long memdesc;		/* the low four bits tell the type */
};

struct folio {				/* allocated apart from the page */
	unsigned long flags;
	unsigned long pfn;
	int _refcount;
	int pincount;
	int order;
} __attribute__((aligned(16)));

struct slab {
	void *freelist;
} __attribute__((aligned(16)));

struct ptdesc {
	unsigned long lock;
} __attribute__((aligned(16)));

enum { MEMDESC_FOLIO = 3, MEMDESC_MASK = 15, PG_DIRTY = 1 };
enum { AT_FLAGS = 0, AT_PFN = 8, AT_REFCOUNT = 16, AT_PINCOUNT = 20 };

static struct page vmemmap[NR_FRAMES] __attribute__((aligned(4096)));	/* so that runs repeat */
static struct folio folios[NR_FRAMES];

typedef struct folio *pin_t;
typedef struct folio *got_t;

static inline unsigned long page_to_pfn(const struct page *page)
{
	return BASE_PFN + (page - vmemmap);
}

static inline struct page *pfn_to_page(unsigned long pfn)
{
	return &vmemmap[pfn - BASE_PFN];
}

static inline unsigned long page_to_phys(const struct page *page)
{
	return page_to_pfn(page) << PAGE_SHIFT;
}

/* NULL where the page belongs to no folio. */
static inline struct folio *page_folio(const struct page *page)
{
	unsigned long memdesc = load_long(page, 0);

	if ((memdesc & MEMDESC_MASK) != MEMDESC_FOLIO)
		return NULL;
	return (struct folio *)(memdesc & ~(unsigned long)MEMDESC_MASK);
}

static inline struct page *folio_page(const struct folio *folio)
{
	return pfn_to_page(load_long(folio, AT_PFN));
}

static inline struct page *compound_head(const struct page *page)
{
	return folio_page(page_folio(page));
}

static inline void folio_mark_dirty(struct folio *folio)
{
	store_long(folio, AT_FLAGS, load_long(folio, AT_FLAGS) | PG_DIRTY);
}

static inline void set_page_dirty_lock(struct page *page)
{
	folio_mark_dirty(page_folio(page));
}

static inline int page_to_nid(const struct page *page)
{
	return load_long(page_folio(page), AT_FLAGS) >> 58;
}

static inline void write_page(struct page *page)
{
	write_frame(page_to_pfn(page), "the CPU");
}

static inline void folio_get(struct folio *folio)
{
	store_int(folio, AT_REFCOUNT, load_int(folio, AT_REFCOUNT) + 1);
}

static inline void folio_put(struct folio *folio)
{
	int left = load_int(folio, AT_REFCOUNT);

	if (left == 0)
		debug_trap("VM_BUG_ON_FOLIO", "folio_put: the refcount is 0");
	store_int(folio, AT_REFCOUNT, --left);
	if (left)
		return;
	if (frame_of(folio->pfn)->mapped) {
		debug_trap("bad page state", "freed while the process has it mapped");
		wrong("a page was freed while the process has it mapped");
	}
	if (load_int(folio, AT_PINCOUNT))
		debug_trap("bad page state", "nonzero pincount when freed");
}

static inline void folio_unpin(struct folio *folio)
{
	store_int(folio, AT_PINCOUNT, load_int(folio, AT_PINCOUNT) - 1);
	folio_put(folio);
}

static inline long get_user_folios(unsigned long uaddr, long nr, unsigned int gup_flags, struct folio **found)
{
	long i, error = prepare_longterm(uaddr, nr, gup_flags);

	if (error)
		return error;
	for (i = 0; i < nr; i++) {
		if (!user_pfn(uaddr + i))
			return i ? i : -EFAULT;
		found[i] = page_folio(pfn_to_page(user_pfn(uaddr + i)));
		folio_get(found[i]);
	}
	return nr;
}

static inline long pin_user_folios(unsigned long uaddr, long nr, unsigned int gup_flags, struct folio **found)
{
	long i, got = get_user_folios(uaddr, nr, gup_flags, found);

	for (i = 0; i < got; i++)
		store_int(found[i], AT_PINCOUNT, load_int(found[i], AT_PINCOUNT) + 1);
	return got;
}

static inline void put_folios(struct folio **list, long nr)
{
	long i;

	for (i = 0; i < nr; i++)
		folio_put(list[i]);
}

static inline void unpin_folios_dirty_lock(struct folio **list, long nr, bool make_dirty)
{
	long i;

	for (i = 0; i < nr; i++) {
		if (make_dirty)
			folio_mark_dirty(list[i]);
		folio_unpin(list[i]);
	}
}

/* -- scatterlist: pages still, whose two low bits are clear -------------------------------------------- */

struct scatterlist {
	unsigned long page_link;
	unsigned int offset, length;
};

static inline void sg_set_page(struct scatterlist *sg, struct page *page, unsigned int length, unsigned int offset)
{
	if ((unsigned long)page & 3)
		trap("BUG_ON", "sg_assign_page: page & 3");
	sg->page_link = (unsigned long)page;
	sg->length = length;
	sg->offset = offset;
}

static inline void device_write_sg(const struct scatterlist *sg, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		device_write(page_to_pfn((struct page *)(sg[i].page_link & ~3UL)));
}

/* -- the kernel's own use of the descriptors ----------------------------------------------------------- */

static inline void desc_init(void)
{
	int i, head;

	add_region(vmemmap, sizeof(vmemmap));
	add_region(folios, sizeof(folios));
	for (i = 0; i < NR_USER; i++) {
		head = world.frames[i].large ? UADDR_LARGE : i;
		vmemmap[i].memdesc = (unsigned long)&folios[head] | MEMDESC_FOLIO;
		folios[head].pfn = BASE_PFN + head;
		folios[head]._refcount++;
	}
}

static inline void desc_move(unsigned long from, unsigned long to)
{
	struct folio *folio = page_folio(pfn_to_page(from));

	pfn_to_page(to)->memdesc = pfn_to_page(from)->memdesc;
	pfn_to_page(from)->memdesc = 0;
	if (folio->pfn == from)
		folio->pfn = to;
}

static inline int desc_refs(unsigned long pfn)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));

	return folio ? folio->_refcount : 0;
}

static inline int desc_pins(unsigned long pfn)
{
	return page_folio(pfn_to_page(pfn))->pincount;
}

static inline bool desc_dirty(unsigned long pfn)
{
	return page_folio(pfn_to_page(pfn))->flags & PG_DIRTY;
}

static inline bool desc_get(unsigned long pfn)
{
	if (desc_refs(pfn) <= 0)
		return false;
	folio_get(page_folio(pfn_to_page(pfn)));
	return true;
}

static inline void desc_put(unsigned long pfn)
{
	folio_put(page_folio(pfn_to_page(pfn)));
}

/* The mapping: what a call site of this variant writes for each step. */
#define pin(uaddr, nr, gup_flags, pins) pin_user_folios(uaddr, nr, gup_flags, pins)
#define unpin(pin) folio_unpin(pin)
#define unpin_list(pins, nr) unpin_folios_dirty_lock(pins, nr, false)
#define unpin_list_dirty(pins, nr, make_dirty) unpin_folios_dirty_lock(pins, nr, make_dirty)
#define release_list(pins, nr) unpin_folios_dirty_lock(pins, nr, false)
#define get(uaddr, nr, gup_flags, pages) get_user_folios(uaddr, nr, gup_flags, pages)
#define put(page) folio_put(page)
#define put_list(pages, nr) put_folios(pages, nr)
#define pin_page(pin) folio_page(pin)
#define got_page(page) folio_page(page)
#define pin_to_entry(pin) (pin)
#define entry_to_pin(entry) ((struct folio *)(entry))
