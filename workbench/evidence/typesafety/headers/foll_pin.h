/* title: pin_user_pages(), unpin_user_page() */
/* designs: foll_pin */
/* about: a pin adds 1024 to the refcount of a small page, or 1 to a large folio's own pin count */
#include "pages.h"

enum { GUP_PIN_COUNTING_BIAS = 1024 };	/* include/linux/mm.h, v7.3 */

typedef struct page *pin_t;
typedef struct page *got_t;

static inline void add_pins(struct page *page, int pins)
{
	struct folio *folio = page_folio(page);

	if (folio_test_large(folio)) {
		store_int(folio, AT_PINCOUNT, load_int(folio, AT_PINCOUNT) + pins);
		if (pins > 0)
			page_ref_add(page, pins);
		else
			page_ref_sub(page, -pins);
	} else if (pins > 0) {
		page_ref_add(page, pins * GUP_PIN_COUNTING_BIAS);
	} else {
		page_ref_sub(page, -pins * GUP_PIN_COUNTING_BIAS);
	}
}

static inline long pin_user_pages(unsigned long uaddr, long nr, unsigned int gup_flags, struct page **pages)
{
	long i, error = prepare_longterm(uaddr, nr, gup_flags);

	if (error)
		return error;
	for (i = 0; i < nr; i++) {
		if (!user_pfn(uaddr + i))
			return i ? i : -EFAULT;
		pages[i] = pfn_to_static_page(user_pfn(uaddr + i));
		add_pins(pages[i], 1);
	}
	return nr;
}

static inline void unpin_user_page(struct page *page)
{
	add_pins(page, -1);
}

static inline void unpin_user_pages(struct page **pages, long nr)
{
	long i;

	for (i = 0; i < nr; i++)
		unpin_user_page(pages[i]);
}

static inline void unpin_user_pages_dirty_lock(struct page **pages, long nr, bool make_dirty)
{
	long i;

	for (i = 0; i < nr; i++) {
		if (make_dirty)
			set_page_dirty_lock(pages[i]);
		unpin_user_page(pages[i]);
	}
}

/* The mapping: what a call site of this variant writes for each step. */
#define pin(uaddr, nr, gup_flags, pins) pin_user_pages(uaddr, nr, gup_flags, pins)
#define unpin(pin) unpin_user_page(pin)
#define unpin_list(pins, nr) unpin_user_pages(pins, nr)
#define unpin_list_dirty(pins, nr, make_dirty) unpin_user_pages_dirty_lock(pins, nr, make_dirty)
#define release_list(pins, nr) unpin_user_pages(pins, nr)
#define get(uaddr, nr, gup_flags, pages) get_user_pages(uaddr, nr, gup_flags, pages)
#define put(page) put_page(page)
#define put_list(pages, nr) put_pages(pages, nr)
#define pin_page(pin) (pin)
#define got_page(page) (page)
#define pin_to_entry(pin) (pin)
#define entry_to_pin(entry) ((struct page *)(entry))
