/* expected: -EFAULT */
/* two ranges, of which the second is not wholly mapped: what was pinned is released */
long error_path(void)
{
	pin_t pins[NR] = {}, more[NR] = {};
	long i, m, n = pin(UADDR, NR, FOLL_WRITE, pins);

	if (n < NR)
		return give_up(pins, n);
	for (i = 0; i < NR; i++) {
		write_page(pin_page(pins[i]));
		set_page_dirty_lock(pin_page(pins[i]));
	}
	m = pin(UADDR_END, NR, FOLL_WRITE, more);
	if (m < NR) {
		for (i = 0; i < m; i++)
			unpin(more[i]);
		unpin_list(pins, n);
		return -EFAULT;
	}
	unpin_list(more, m);
	unpin_list(pins, n);
	return 0;
}
