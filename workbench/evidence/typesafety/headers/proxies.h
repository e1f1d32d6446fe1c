/*
 * Proxies: an allocated object for each pin, whose address with bit 0 set is what gup hands out. The proxy
 * holds one reference on the page. Its layout is that of workbench/designs/proxy_bit.py: 64 bytes, assumed.
 */
#ifndef PROXIES_H
#define PROXIES_H
#include "pages.h"

struct page_proxy {
	struct page *page;
	unsigned long pfn;
	int pins;
	unsigned int nr;
	unsigned long pad[5];
};

_Static_assert(sizeof(struct page_proxy) == 64, "struct page_proxy");

/* 0: the pool is empty. */
static inline unsigned long proxy_new(unsigned long pfn)
{
	struct page_proxy *proxy = pool_take(sizeof(*proxy));

	if (!proxy)
		return 0;
	proxy->page = pfn_to_static_page(pfn);
	proxy->pfn = pfn;
	proxy->pins = 1;
	proxy->nr = 1;
	page_ref_add(proxy->page, 1);
	return (unsigned long)proxy | 1;
}

static inline struct page *proxy_page(unsigned long tagged)
{
	return (struct page *)load_long((void *)(tagged & ~1UL), 0);
}

static inline void proxy_unpin(unsigned long tagged)
{
	struct page_proxy *proxy = (void *)(tagged & ~1UL);
	struct page *page = proxy_page(tagged);
	int left = load_int(proxy, 16) - 1;

	store_int(proxy, 16, left);
	if (left)
		return;
	page_ref_sub(page, 1);
	pool_free(proxy);
}

/* Each of the proxies' variants has its own type for what is handed out; the loop over pages is the same. */
#define DEFINE_PIN_PROXIES(type, from_tagged)								\
static inline long pin_proxies(unsigned long uaddr, long nr, unsigned int gup_flags, type *pins)	\
{													\
	long i, error = prepare_longterm(uaddr, nr, gup_flags);						\
	unsigned long tagged;										\
													\
	if (error)											\
		return error;										\
	for (i = 0; i < nr; i++) {									\
		if (!user_pfn(uaddr + i))								\
			return i ? i : -EFAULT;								\
		tagged = proxy_new(user_pfn(uaddr + i));						\
		if (!tagged)										\
			return i ? i : -ENOMEM;								\
		pins[i] = from_tagged(tagged);								\
	}												\
	return nr;											\
}

#define DEFINE_UNPIN_LISTS(type)									\
static inline void unpin_proxies(type *pins, long nr)							\
{													\
	long i;												\
													\
	for (i = 0; i < nr; i++)									\
		unpin_proxy(pins[i]);									\
}													\
static inline void unpin_proxies_dirty_lock(type *pins, long nr, bool make_dirty)			\
{													\
	long i;												\
													\
	for (i = 0; i < nr; i++) {									\
		if (make_dirty)										\
			set_page_dirty_lock(pin_page(pins[i]));						\
		unpin_proxy(pins[i]);									\
	}												\
}

/* The mapping: what a call site of these variants writes for each step. */
#define pin(uaddr, nr, gup_flags, pins) pin_proxies(uaddr, nr, gup_flags, pins)
#define unpin(pin) unpin_proxy(pin)
#define unpin_list(pins, nr) unpin_proxies(pins, nr)
#define unpin_list_dirty(pins, nr, make_dirty) unpin_proxies_dirty_lock(pins, nr, make_dirty)
#define get(uaddr, nr, gup_flags, pages) get_user_pages(uaddr, nr, gup_flags, pages)
#define put(page) put_page(page)
#define put_list(pages, nr) put_pages(pages, nr)
#define got_page(page) (page)

#endif
