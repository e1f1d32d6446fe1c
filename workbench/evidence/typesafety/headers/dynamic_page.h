/* title: dynamic_page, flag in struct page */
/* designs: dynamic_page */
/* about: gup hands out the struct page inside a dynamic_page; the page helpers test its flag */
#define VARIANT_HAS_PAGE_HELPERS
#include "dynamic_pages.h"

typedef struct page *pin_t;
typedef struct page *got_t;

static inline bool page_is_dynamic(const struct page *page)
{
	return load_long(page, AT_FLAGS) & PG_DYNAMIC;
}

static inline unsigned long page_to_pfn(struct page *page)
{
	return page_is_dynamic(page) ? load_long(page, AT_PFN) : static_page_to_pfn(page);
}

static inline struct page *pin_page(struct page *page)
{
	return dynamic_to_static(page);
}

static inline void set_page_dirty_lock(struct page *page)
{
	static_page_dirty(page_is_dynamic(page) ? dynamic_to_static(page) : page);
}

static inline void put_page(struct page *page)
{
	if (page_is_dynamic(page))
		trap("WARN_ON_ONCE", "put_page: the page is dynamic");
	page_ref_sub(page, 1);
}

static inline void unpin_dynamic(struct page *page)
{
	if (!page_is_dynamic(page))
		trap("WARN_ON_ONCE", "unpin: the page is not dynamic");
	dynamic_page_unpin(page);
}

/* The flag of each page decides how it is released. */
static inline void release_list(struct page **pages, long nr)
{
	long i;

	for (i = 0; i < nr; i++) {
		if (page_is_dynamic(pages[i]))
			unpin_dynamic(pages[i]);
		else
			put_page(pages[i]);
	}
}

DEFINE_PIN_DYNAMIC(pin_t)

#define entry_to_pin(entry) ((struct page *)(entry))
