"""Evidence collected into an argument, and written down for a mailing list, a page or a table."""

from workbench.argument.collect import Argument, Claim, EvidenceError
from workbench.argument.compared import compared
from workbench.argument.document import Document, Section
from workbench.argument.evidence import Evidence, Memory, Mistakes, Pins, Published, Times, grid
from workbench.argument.mail import mail_note, mail_table

__all__ = [
    "Argument",
    "Claim",
    "Document",
    "Evidence",
    "EvidenceError",
    "Memory",
    "Mistakes",
    "Pins",
    "Published",
    "Section",
    "Times",
    "compared",
    "grid",
    "mail_note",
    "mail_table",
]
