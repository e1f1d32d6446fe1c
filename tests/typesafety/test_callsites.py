"""The census counts calls, and nothing else that looks like one."""

import pytest

from workbench.typesafety.callsites import count_calls


def calls(source):
    return sum(count_calls(source.encode()).values())


@pytest.mark.parametrize(("source", "expected"), [
    ("void f(void) { put_page(page); }", 1),
    ("void f(void) { put_page\n\t(page); }", 1),
    ("void f(void) { put_page /* why */ (page); }", 1),
    ("void f(void) { put_page // why\n(page); }", 1),
    ("void f(void) { put_\\\npage(page); }", 1),
    ("void f(void) { put_\\  \r\npage(page); }", 1),
    ("void f(void) { p\\\nut_pa\\\nge(page); }", 1),
    ("void f(void) { foo(a,\n\tpage_to_pfn(virt_to_page(x)),\n\tb); }", 2),
    ("x = cond ? page_to_pfn(a) : page_to_pfn(b);", 2),
    ("int f(void) { return page_to_pfn(a); }", 1),
    ("int f(void) { if (x) put_page(a); else put_page(b); do put_page(c); while (0); }", 3),
    ("int f(void) { out: put_page(a); case 1: put_page(b); }", 2),
    ("int f(void) { (void)put_page(a); !get_page(b); &virt_to_page(x)->lru; }", 3),
    ("int f(void) { *virt_to_page(a) = x; y = **virt_to_page(b); }", 2),
    ("int f(void) { x = n * page_to_pfn(a); y = (u64)n * page_to_pfn(b); z = 2 * page_to_pfn(c); }", 3),
    ("int x[] = { n * page_to_pfn(a), [0 ... page_to_pfn(b)] = 1 };", 2),
    ("int f(void) { return sizeof * virt_to_page(p); }", 1),
    ("#ifdef A\nf(put_page(a));\n#else\ng(put_page(a));\n#endif\n", 2),
    ("#if 0\nvoid f(void) { put_page(a); }\n#endif\n", 1),
    ("void f(void) { if (a)\n#ifdef A\n\tput_page(a)\n#else\n\tput_page(b)\n#endif\n\t; }", 2),
    ("void f(void) {\n\telse\n#ifdef A\n\tput_page(a);\n#endif\n}", 1),
    # bodies of macros, once each
    ("#define drop(p) put_page(p)", 1),
    ("#define drop put_page(p)", 1),
    ("#define drop(p) do { \\\n\tput_page(p); \\\n\tput_page(p); \\\n} while (0)", 2),
    ("#define drop(p) /* a\n b */ put_page(p)", 1),
    ("  #  define drop(p) put_page(p)", 1),
    ("#define virt_to_page(x) pfn_to_page(virt_to_pfn(x))", 1),
    ("#define put_page(p) do { } while (0)", 0),
    ("#define put_page (p)", 0),
    ("#define f(p) put_page(p) else", 1),
    ("#define f(x) x##_put_page(p), put_page##x(p), x##put_page(p)", 0),
    # other directives
    ("#if defined(A) && page_to_pfn(x)\n#error put_page(page)\n#pragma put_page(page)\n#endif", 0),
    ("#error don't\nvoid f(void) { put_page(a); } // it's", 1),
    # no code
    ("/* put_page(page); */", 0),
    ("/* \" */ put_page(a); /* \" */", 1),
    ("// put_page(page); \\\nput_page(page);", 0),
    ("/* never closed put_page(page);", 0),
    ('s = "put_page(page)";', 0),
    ('s = "\\"put_page(page)"; put_page(a);', 1),
    ('s = "a\\\nb put_page(page)";', 0),
    ("c = '\"'; put_page(a); c = '\"';", 1),
    ("c = '\\''; put_page(a);", 1),
    ('s = "/*"; put_page(a); t = "*/";', 1),
    ("a = b /*c*/ / put_page(d);", 1),
    # no calls
    (".release = put_page, x = &get_page; (put_page)(page);", 0),
    ("ops->get_page(p); ops.put_page(p); ops -> put_page(p); a.b->c.get_page (p);", 0),
    ("int x = a.b * page_to_pfn(p);", 1),
    ("foo_put_page(p); put_page_foo(p); _put_page(p); put_pages(p); $put_page(p);", 0),
    # prototypes
    ("void put_page(struct page *page);", 0),
    ("struct page *virt_to_page(const void *x);", 0),
    ("page_t *virt_to_page(const void *x);", 0),
    ("extern unsigned long\npage_to_pfn(const struct page *page);", 0),
    ("struct page * __must_check\n#ifdef A\nvirt_to_page(const void *x);\n#endif", 0),
    ("void f(void) { extern void put_page(struct page *); put_page(a); }", 1),
    ("static void __printf(1, 2) put_page(const char *s, ...);", 0),
    ("__printf(1, 2) page_t *get_page(const char *s, ...);", 0),
    ("void (*put_page)(struct page *page);", 0),
    ("typedef int get_page(struct page *page);", 0),
    # definitions
    ("void put_page(struct page *page)\n{\n\tget_page(page);\n}", 1),
    ("static inline struct page *virt_to_page(const void *x) { return pfn_to_page(1); }", 1),
    ("page_t *virt_to_page(x) { }", 0),
    ("put_page(page) struct page *page; { get_page(page); }", 1),
    ("int a;\nput_page(page) { get_page(page); }", 1),
    ("int f(void) { } get_page(x) int x; { }", 0),
])
def test_what_counts_as_a_call(source, expected):
    assert calls(source) == expected
