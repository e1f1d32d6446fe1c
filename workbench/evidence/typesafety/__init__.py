"""Call sites: which mistakes a design turns into errors, and how many calls a kernel tree has."""
