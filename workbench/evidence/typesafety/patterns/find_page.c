/* a page that was looked up is searched among the pinned ones */
long find_page(void)
{
	pin_t pins[NR] = {};
	got_t page[1] = {};
	long i, m, found = 0, n = pin(UADDR, NR, FOLL_WRITE, pins);

	if (n < NR)
		return give_up(pins, n);
	m = get(UADDR + 2, 1, 0, page);
	for (i = 0; i < NR; i++)
		found += pin_page(pins[i]) == got_page(page[0]);
	expect_count(found, 1, "pins of the page");
	put_list(page, m);
	unpin_list(pins, n);
	return 0;
}
