/* a scatterlist is built and mapped */
long scatterlist(void)
{
	struct scatterlist sg[NR] = {};
	pin_t pins[NR] = {};
	long i, n = pin(UADDR, NR, FOLL_WRITE, pins);

	if (n < NR)
		return give_up(pins, n);
	for (i = 0; i < NR; i++)
		sg_set_page(&sg[i], pin_page(pins[i]), PAGE_SIZE, 0);
	device_write_sg(sg, NR);
	for (i = 0; i < n; i++) {
		set_page_dirty_lock(pin_page(pins[i]));
		unpin(pins[i]);
	}
	return 0;
}
