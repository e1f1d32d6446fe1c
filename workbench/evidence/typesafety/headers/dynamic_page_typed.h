/* title: dynamic_page, own pointer type */
/* designs: dynamic_page */
/* about: gup hands out struct dynamic_page pointers, which are no struct page pointers for the compiler */
#include "dynamic_pages.h"

typedef struct dynamic_page *pin_t;
typedef struct page *got_t;

static inline struct page *pin_page(struct dynamic_page *dynamic)
{
	return dynamic_to_static(dynamic);
}

static inline void unpin_dynamic(struct dynamic_page *dynamic)
{
	dynamic_page_unpin(dynamic);
}

DEFINE_PIN_DYNAMIC(pin_t)

#define release_list(pins, nr) unpin_dynamic_pages(pins, nr)
#define entry_to_pin(entry) ((struct dynamic_page *)(entry))
