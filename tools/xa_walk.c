/*
 * The XArray walk of workbench/lookups/loops.py in C, over the same words, to compare the two.
 * Own code; tools/xa_walk.py compiles it where there is a C compiler.
 */
#include <stddef.h>
#include <stdint.h>

enum { NODE_WORDS = 73, SLOTS_AT = 5, FIRST_NODE = 64 };

static inline uint64_t walk(const uint64_t *a, uint64_t head, uint64_t k)
{
	uint64_t e = head;

	if ((e & 3) == 2) {
		if (k >> (a[(e >> 2) * NODE_WORDS] & 63) > 63)
			return 0;
	} else if (k) {
		return 0;
	}
	while ((e & 3) == 2) {
		const uint64_t *node = a + (e >> 2) * NODE_WORDS;

		e = node[SLOTS_AT + ((k >> (node[0] & 63)) & 63)];
		if ((e & 3) == 2 && e < FIRST_NODE << 2)
			e = node[SLOTS_AT + (e >> 2)];
	}
	return e;
}

/* Out of line, as the kernel calls it; callgrind counts its instructions. */
__attribute__((noinline)) uint64_t xa_walk(const uint64_t *a, uint64_t head, uint64_t k)
{
	return walk(a, head, k);
}

uint64_t dependent(const uint64_t *keys, size_t nr, uint64_t z, const uint64_t *a, uint64_t head)
{
	uint64_t r = 0, total = 0;

	for (size_t i = 0; i < nr; i++) {
		r = walk(a, head, keys[i] + (r & z));
		total += r;
	}
	return total;
}

uint64_t independent(const uint64_t *keys, size_t nr, uint64_t z, const uint64_t *a, uint64_t head)
{
	uint64_t total = 0;

	(void)z;
	for (size_t i = 0; i < nr; i++)
		total += walk(a, head, keys[i]);
	return total;
}

uint64_t out_of_line(const uint64_t *keys, size_t nr, uint64_t z, const uint64_t *a, uint64_t head)
{
	uint64_t r = 0, total = 0;

	for (size_t i = 0; i < nr; i++) {
		r = xa_walk(a, head, keys[i] + (r & z));
		total += r;
	}
	return total;
}

#ifdef WITH_MAIN
/*
 * xa_walk HEIGHT NR: walk a tree of one entry and so many levels, so often. Under callgrind with
 * --toggle-collect=xa_walk what is collected is NR times the instructions of one lookup.
 */
#include <stdlib.h>

int main(int argc, char **argv)
{
	static uint64_t a[(FIRST_NODE + 11) * NODE_WORDS];
	const uint64_t height = argc > 2 ? strtoull(argv[1], NULL, 10) : 0;
	const uint64_t key = height ? 1ULL << 6 * (height - 1) : 0;
	uint64_t head = 8;

	if (argc != 3 || height > 11)
		return 2;
	for (uint64_t level = 0; level < height; level++) {
		uint64_t *node = a + (FIRST_NODE + level) * NODE_WORDS, shift = 6 * level;

		node[0] = shift | 1 << 16;
		node[SLOTS_AT + ((key >> shift) & 63)] = head;
		head = (FIRST_NODE + level) << 2 | 2;
	}
	for (uint64_t nr = strtoull(argv[2], NULL, 10); nr; nr--)
		if (xa_walk(a, head, key) != 8)
			return 1;
	return 0;
}
#endif
