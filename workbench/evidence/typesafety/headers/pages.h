/*
 * struct page and what works on it, for the variants that keep it. Sizes and offsets are those of x86-64
 * (64 bytes, compound_head at 8, _refcount at 52), so that a load through a wrong pointer reads what it would.
 */
#ifndef PAGES_H
#define PAGES_H
#include "world.h"

struct page {
	unsigned long flags;
	unsigned long compound_head;	/* odd: this is a tail page */
	unsigned long lru;
	unsigned long mapping;
	unsigned long index;
	unsigned long private;
	int _mapcount;
	int _refcount;
	int _pincount;			/* of a large folio; the kernel has it in the first tail page */
	int order;
} __attribute__((aligned(16)));	/* as _struct_page_alignment is on x86-64 */

struct folio {
	struct page page;
};

enum { PG_DIRTY = 1, PG_DYNAMIC = 2 };
enum { AT_FLAGS = 0, AT_COMPOUND_HEAD = 8, AT_REFCOUNT = 52, AT_PINCOUNT = 56 };

_Static_assert(sizeof(struct page) == 64, "struct page");
_Static_assert(__builtin_offsetof(struct page, _refcount) == AT_REFCOUNT, "_refcount");
_Static_assert(__builtin_offsetof(struct page, _pincount) == AT_PINCOUNT, "_pincount");

static struct page vmemmap[NR_FRAMES] __attribute__((aligned(4096)));	/* so that runs repeat */

/* As the compiler does it: subtract, shift. A pointer to anything else gives a number all the same. */
static inline unsigned long static_page_to_pfn(const struct page *page)
{
	return BASE_PFN + (unsigned long)(((long)page - (long)vmemmap) >> 6);
}

static inline struct page *pfn_to_static_page(unsigned long pfn)
{
	return &vmemmap[pfn - BASE_PFN];
}

static inline struct page *compound_head(struct page *page)
{
	unsigned long head = load_long(page, AT_COMPOUND_HEAD);

	return head & 1 ? (struct page *)(head - 1) : page;
}

static inline struct folio *page_folio(struct page *page)
{
	return (struct folio *)compound_head(page);
}

static inline bool folio_test_large(struct folio *folio)
{
	return folio->page.order > 0;
}

static inline void page_freed(struct page *head)
{
	struct frame *frame = frame_of(static_page_to_pfn(head));

	if (!frame) {
		wrong("something was freed that is no page");
		return;
	}
	if (frame->mapped) {
		debug_trap("bad page state", "freed while the process has it mapped");
		wrong("a page was freed while the process has it mapped");
	}
	if (load_int(head, AT_PINCOUNT))
		debug_trap("bad page state", "nonzero pincount when freed");
}

/* One reference less; several for a biased pin. Only the loss of one looks at what it finds. */
static inline void page_ref_sub(struct page *page, int refs)
{
	struct page *head = compound_head(page);
	int left = load_int(head, AT_REFCOUNT);

	if (refs == 1 && left == 0)
		debug_trap("VM_BUG_ON_PAGE", "put_page: the refcount is 0");
	left -= refs;
	store_int(head, AT_REFCOUNT, left);
	if (left == 0)
		page_freed(head);
}

static inline void page_ref_add(struct page *page, int refs)
{
	struct page *head = compound_head(page);

	store_int(head, AT_REFCOUNT, load_int(head, AT_REFCOUNT) + refs);
}

static inline void static_page_dirty(struct page *page)
{
	struct page *head = compound_head(page);

	store_long(head, AT_FLAGS, load_long(head, AT_FLAGS) | PG_DIRTY);
}

#ifndef VARIANT_HAS_PAGE_HELPERS	/* else the variant's own, which look at the page first */
static inline unsigned long page_to_pfn(struct page *page)
{
	return static_page_to_pfn(page);
}

static inline void put_page(struct page *page)
{
	page_ref_sub(page, 1);
}

static inline void set_page_dirty_lock(struct page *page)
{
	static_page_dirty(page);
}
#else
static unsigned long page_to_pfn(struct page *page);
static void put_page(struct page *page);
static void set_page_dirty_lock(struct page *page);
#endif

static inline unsigned long page_to_phys(struct page *page)
{
	return page_to_pfn(page) << PAGE_SHIFT;
}

static inline int page_to_nid(const struct page *page)
{
	return load_long(page, AT_FLAGS) >> 58;
}

static inline void folio_mark_dirty(struct folio *folio)
{
	store_long(folio, AT_FLAGS, load_long(folio, AT_FLAGS) | PG_DIRTY);
}

/* The CPU writes to the page's data. */
static inline void write_page(struct page *page)
{
	write_frame(page_to_pfn(page), "the CPU");
}

static inline long get_user_pages(unsigned long uaddr, long nr, unsigned int gup_flags, struct page **pages)
{
	long i, error = prepare_longterm(uaddr, nr, gup_flags);

	if (error)
		return error;
	for (i = 0; i < nr; i++) {
		if (!user_pfn(uaddr + i))
			return i ? i : -EFAULT;
		pages[i] = pfn_to_static_page(user_pfn(uaddr + i));
		page_ref_add(pages[i], 1);
	}
	return nr;
}

static inline void put_pages(struct page **pages, long nr)
{
	long i;

	for (i = 0; i < nr; i++)
		put_page(pages[i]);
}

/* -- scatterlist: the two low bits of page_link are taken --------------------------------------------- */

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
	int i;

	add_region(vmemmap, sizeof(vmemmap));
	for (i = 0; i < NR_USER; i++) {
		vmemmap[i]._refcount = 1;
		if (!world.frames[i].large)
			continue;
		vmemmap[i]._refcount = i == UADDR_LARGE ? 4 : 0;
		vmemmap[i].order = i == UADDR_LARGE ? 2 : 0;
		vmemmap[i].compound_head = i == UADDR_LARGE ? 0 : (unsigned long)&vmemmap[UADDR_LARGE] + 1;
	}
}

static inline void desc_move(unsigned long from, unsigned long to)
{
	struct page *old = pfn_to_static_page(from), *new = pfn_to_static_page(to);

	*new = *old;
	if (new->compound_head)
		new->compound_head += NR_UNMOVABLE * sizeof(struct page);
	old->_refcount = 0;
}

static inline int desc_refs(unsigned long pfn)
{
	return load_int(compound_head(pfn_to_static_page(pfn)), AT_REFCOUNT);
}

static inline int desc_pins(unsigned long pfn)
{
	return load_int(compound_head(pfn_to_static_page(pfn)), AT_PINCOUNT);
}

static inline bool desc_dirty(unsigned long pfn)
{
	return load_long(compound_head(pfn_to_static_page(pfn)), AT_FLAGS) & PG_DIRTY;
}

static inline bool desc_get(unsigned long pfn)
{
	if (desc_refs(pfn) <= 0)
		return false;
	page_ref_add(pfn_to_static_page(pfn), 1);
	return true;
}

static inline void desc_put(unsigned long pfn)
{
	page_ref_sub(pfn_to_static_page(pfn), 1);
}

#endif
