/* title: proxy, opaque pointer */
/* designs: proxy_bit */
/* about: the same proxies behind a pointer to a struct that is never defined, as struct encoded_page is */
#include "proxies.h"

struct pin_ref;				/* never defined: a type for the compiler to check */
typedef struct pin_ref *pin_t;
typedef struct page *got_t;

static inline struct pin_ref *from_tagged(unsigned long tagged)
{
	return (struct pin_ref *)tagged;
}

static inline struct page *pin_page(struct pin_ref *ref)
{
	return proxy_page((unsigned long)ref);
}

static inline void unpin_proxy(struct pin_ref *ref)
{
	proxy_unpin((unsigned long)ref);
}

DEFINE_PIN_PROXIES(pin_t, from_tagged)
DEFINE_UNPIN_LISTS(pin_t)

#define release_list(pins, nr) unpin_proxies(pins, nr)
#define pin_to_entry(pin) ((void *)((unsigned long)(pin) & ~1UL))
#define entry_to_pin(entry) ((struct pin_ref *)((unsigned long)(entry) | 1))
