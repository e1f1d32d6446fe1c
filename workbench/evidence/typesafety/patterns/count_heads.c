/* pinned pages of one large folio are coalesced by their head page */
long count_heads(void)
{
	struct page *head, *last = NULL;
	pin_t pins[NR] = {};
	long i, nr = 0, n = pin(UADDR_LARGE, NR, 0, pins);

	if (n < NR)
		return give_up(pins, n);
	for (i = 0; i < NR; i++) {
		head = compound_head(pin_page(pins[i]));
		nr += head != last;
		last = head;
	}
	expect_count(nr, 1, "folios");
	unpin_list(pins, n);
	return 0;
}
