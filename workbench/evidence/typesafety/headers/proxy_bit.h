/* title: proxy, bit 0 of struct page * */
/* designs: proxy_bit */
/* about: gup hands out a struct page pointer with bit 0 set; no page helper but the release looks at the bit */
#include "proxies.h"

typedef struct page *pin_t;
typedef struct page *got_t;

static inline struct page *from_tagged(unsigned long tagged)
{
	return (struct page *)tagged;
}

static inline struct page *pin_page(struct page *page)
{
	return proxy_page((unsigned long)page);
}

static inline void unpin_proxy(struct page *page)
{
	if (page && !((unsigned long)page & 1))
		trap("WARN_ON_ONCE", "unpin: bit 0 is clear, this is no proxy");
	proxy_unpin((unsigned long)page);
}

/* The tag of each page decides how it is released. */
static inline void release_list(struct page **pages, long nr)
{
	long i;

	for (i = 0; i < nr; i++) {
		if ((unsigned long)pages[i] & 1)
			proxy_unpin((unsigned long)pages[i]);
		else
			put_page(pages[i]);
	}
}

DEFINE_PIN_PROXIES(pin_t, from_tagged)
DEFINE_UNPIN_LISTS(pin_t)

#define pin_to_entry(pin) ((void *)((unsigned long)(pin) & ~1UL))
#define entry_to_pin(entry) ((struct page *)((unsigned long)(entry) | 1))
