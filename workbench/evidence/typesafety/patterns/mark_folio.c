/* the folio of each pinned page is marked dirty */
long mark_folio(void)
{
	pin_t pins[NR] = {};
	struct folio *folio;
	long i, n = pin(UADDR_LARGE, NR, FOLL_WRITE, pins);

	if (n < NR)
		return give_up(pins, n);
	for (i = 0; i < NR; i++) {
		write_page(pin_page(pins[i]));
		folio = page_folio(pin_page(pins[i]));
		folio_mark_dirty(folio);
	}
	unpin_list(pins, n);
	return 0;
}
