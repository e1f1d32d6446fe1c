/* case 1: direct I/O reads into user memory, page by page */
long direct_io(void)
{
	pin_t pins[NR] = {};
	long i, n = pin(UADDR, NR, FOLL_WRITE, pins);

	if (n < NR)
		return give_up(pins, n);
	for (i = 0; i < NR; i++)
		device_write(page_to_pfn(pin_page(pins[i])));
	for (i = 0; i < n; i++) {
		set_page_dirty_lock(pin_page(pins[i]));
		unpin(pins[i]);
	}
	return 0;
}
