/* a bio with pages that are pinned and pages that are only referenced */
long mixed_bio(void)
{
	pin_t pins[2 * NR] = {};
	got_t pages[NR] = {};
	long i, m, n = pin(UADDR, NR, FOLL_WRITE, pins);

	if (n < NR)
		return give_up(pins, n);
	m = get(UADDR_OTHER, NR, FOLL_WRITE, pages);
	for (i = 0; i < NR; i++) {
		device_write(page_to_pfn(pin_page(pins[i])));
		device_write(page_to_pfn(got_page(pages[i])));
		set_page_dirty_lock(pin_page(pins[i]));
		set_page_dirty_lock(got_page(pages[i]));
	}
	put_list(pages, m);
	release_list(pins, n);
	return 0;
}
