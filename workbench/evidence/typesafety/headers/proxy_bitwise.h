/* title: proxy, unsigned long __bitwise */
/* designs: proxy_bit, netmem */
/* about: the same proxies as an unsigned long that sparse keeps apart from others, as netmem_ref is */
#include "proxies.h"

typedef unsigned long __bitwise pin_t;
typedef struct page *got_t;

#define from_tagged(tagged) ((__force pin_t)(tagged))

static inline struct page *pin_page(pin_t ref)
{
	return proxy_page((__force unsigned long)ref);
}

static inline void unpin_proxy(pin_t ref)
{
	proxy_unpin((__force unsigned long)ref);
}

DEFINE_PIN_PROXIES(pin_t, from_tagged)
DEFINE_UNPIN_LISTS(pin_t)

#define release_list(pins, nr) unpin_proxies(pins, nr)
#define pin_to_entry(pin) ((void *)((__force unsigned long)(pin) & ~1UL))
#define entry_to_pin(entry) ((__force pin_t)((unsigned long)(entry) | 1))
