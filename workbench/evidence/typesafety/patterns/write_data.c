/* case 5: the CPU writes to the pages' data */
long write_data(void)
{
	pin_t pins[NR] = {};
	long i, n = pin(UADDR, NR, FOLL_WRITE, pins);

	if (n < NR)
		return give_up(pins, n);
	for (i = 0; i < NR; i++) {
		write_page(pin_page(pins[i]));
		set_page_dirty_lock(pin_page(pins[i]));
	}
	unpin_list(pins, n);
	return 0;
}
