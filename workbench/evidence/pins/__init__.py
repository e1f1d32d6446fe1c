"""Recorded pins: traces of what really took and dropped FOLL_PIN references, page by page."""
