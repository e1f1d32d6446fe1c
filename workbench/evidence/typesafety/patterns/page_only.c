/* case 4: only struct page is looked at, as move_pages() does to ask for the node */
long page_only(void)
{
	got_t pages[NR] = {};
	long i, nid = 0, n = get(UADDR, NR, 0, pages);

	for (i = 0; i < n; i++)
		nid += page_to_nid(got_page(pages[i]));
	put_list(pages, n);
	return n < 0 ? n : nid;
}
