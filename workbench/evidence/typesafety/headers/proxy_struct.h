/* title: proxy, struct around a word */
/* designs: proxy_bit */
/* about: the same proxies as a struct with one word in it, as pte_t and memdesc_flags_t are */
#include "proxies.h"

typedef struct { unsigned long ref; } pin_t;
typedef struct page *got_t;

#define from_tagged(tagged) ((pin_t){ tagged })

static inline struct page *pin_page(pin_t pin)
{
	return proxy_page(pin.ref);
}

static inline void unpin_proxy(pin_t pin)
{
	proxy_unpin(pin.ref);
}

DEFINE_PIN_PROXIES(pin_t, from_tagged)
DEFINE_UNPIN_LISTS(pin_t)

#define release_list(pins, nr) unpin_proxies(pins, nr)
#define pin_to_entry(pin) ((void *)((pin).ref & ~1UL))
#define entry_to_pin(entry) ((pin_t){ (unsigned long)(entry) | 1 })
