/* title: get_user_pages(), put_page() */
/* designs: static, hvo, altmap, compound_devmap */
/* about: a pin is one more reference on struct page, like any other reference */
#include "pages.h"

typedef struct page *pin_t;
typedef struct page *got_t;

/* The mapping: what a call site of this variant writes for each step. */
#define pin(uaddr, nr, gup_flags, pins) get_user_pages(uaddr, nr, gup_flags, pins)
#define unpin(pin) put_page(pin)
#define unpin_list(pins, nr) put_pages(pins, nr)
#define release_list(pins, nr) put_pages(pins, nr)
#define get(uaddr, nr, gup_flags, pages) get_user_pages(uaddr, nr, gup_flags, pages)
#define put(page) put_page(page)
#define put_list(pages, nr) put_pages(pages, nr)
#define pin_page(pin) (pin)
#define got_page(page) (page)
#define pin_to_entry(pin) (pin)
#define entry_to_pin(entry) ((struct page *)(entry))

static inline void unpin_list_dirty(pin_t *pins, long nr, bool make_dirty)
{
	long i;

	for (i = 0; i < nr; i++) {
		if (make_dirty)
			set_page_dirty_lock(pins[i]);
		put_page(pins[i]);
	}
}
