/* pages are queued, whatever they came from, and a worker releases the queue */
long release_queue(void)
{
	pin_t pins[2 * NR] = {};
	got_t pages[NR] = {};
	long i, m, nid = 0, n = pin(UADDR, NR, 0, pins);

	if (n < NR)
		return give_up(pins, n);
	m = get(UADDR_OTHER, 2, 0, pages);
	for (i = 0; i < NR; i++)
		nid += page_to_nid(pin_page(pins[i]));
	put_list(pages, m);
	release_list(pins, n);
	return nid;
}
