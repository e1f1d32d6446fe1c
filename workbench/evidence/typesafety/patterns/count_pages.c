/* a buffer is pinned twice; each of its pages is to be charged once */
long count_pages(void)
{
	pin_t pins[NR] = {}, again[NR] = {};
	long i, m, nr = NR, n = pin(UADDR, NR, FOLL_WRITE, pins);

	if (n < NR)
		return give_up(pins, n);
	m = pin(UADDR, NR, FOLL_WRITE, again);
	for (i = 0; i < NR; i++)
		nr += pin_page(pins[i]) != pin_page(again[i]);
	charge(nr);
	unpin_list(again, m);
	unpin_list(pins, n);
	return 0;
}
