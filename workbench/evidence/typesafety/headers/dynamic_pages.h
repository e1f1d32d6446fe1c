/*
 * struct dynamic_page beside the memmap: one for each pin, with the pfn in it. It holds one reference on the
 * page. The mail of 14 December 2018 has the struct page unnamed, which needs -fms-extensions; it has a name
 * here, so that both ways to compile can be compared.
 */
#ifndef DYNAMIC_PAGES_H
#define DYNAMIC_PAGES_H
#include "pages.h"

struct dynamic_page {
	struct page page;
	unsigned long vaddr;
	unsigned long pfn;
};

enum { AT_PFN = 72 };
_Static_assert(sizeof(struct dynamic_page) == 80, "struct dynamic_page");

/* NULL: the pool is empty. The embedded page looks like the head of an order-0 folio with one reference. */
static inline struct dynamic_page *dynamic_page_new(unsigned long pfn)
{
	struct dynamic_page *dynamic = pool_take(sizeof(*dynamic));

	if (!dynamic)
		return NULL;
	dynamic->page.flags = PG_DYNAMIC;
	dynamic->page._refcount = 1;
	dynamic->pfn = pfn;
	page_ref_add(pfn_to_static_page(pfn), 1);
	return dynamic;
}

static inline struct page *dynamic_to_static(const void *dynamic)
{
	return pfn_to_static_page(load_long(dynamic, AT_PFN));
}

static inline void dynamic_page_unpin(void *dynamic)
{
	struct page *page = dynamic_to_static(dynamic);
	int left = load_int(dynamic, AT_REFCOUNT) - 1;

	store_int(dynamic, AT_REFCOUNT, left);
	if (left)
		return;
	page_ref_sub(page, 1);
	pool_free(dynamic);
}

#define DEFINE_PIN_DYNAMIC(type)									\
static inline long pin_dynamic(unsigned long uaddr, long nr, unsigned int gup_flags, type *pins)	\
{													\
	long i, error = prepare_longterm(uaddr, nr, gup_flags);						\
	struct dynamic_page *dynamic;									\
													\
	if (error)											\
		return error;										\
	for (i = 0; i < nr; i++) {									\
		if (!user_pfn(uaddr + i))								\
			return i ? i : -EFAULT;								\
		dynamic = dynamic_page_new(user_pfn(uaddr + i));					\
		if (!dynamic)										\
			return i ? i : -ENOMEM;								\
		pins[i] = (type)dynamic;								\
	}												\
	return nr;											\
}													\
static inline void unpin_dynamic_pages(type *pins, long nr)						\
{													\
	long i;												\
													\
	for (i = 0; i < nr; i++)									\
		unpin_dynamic(pins[i]);									\
}													\
static inline void unpin_dynamic_pages_dirty_lock(type *pins, long nr, bool make_dirty)			\
{													\
	long i;												\
													\
	for (i = 0; i < nr; i++) {									\
		if (make_dirty)										\
			set_page_dirty_lock(pin_page(pins[i]));						\
		unpin_dynamic(pins[i]);									\
	}												\
}

/* The mapping: what a call site of these variants writes for each step. */
#define pin(uaddr, nr, gup_flags, pins) pin_dynamic(uaddr, nr, gup_flags, pins)
#define unpin(pin) unpin_dynamic(pin)
#define unpin_list(pins, nr) unpin_dynamic_pages(pins, nr)
#define unpin_list_dirty(pins, nr, make_dirty) unpin_dynamic_pages_dirty_lock(pins, nr, make_dirty)
#define get(uaddr, nr, gup_flags, pages) get_user_pages(uaddr, nr, gup_flags, pages)
#define put(page) put_page(page)
#define put_list(pages, nr) put_pages(pages, nr)
#define got_page(page) (page)
#define pin_to_entry(pin) ((void *)(pin))

#endif
