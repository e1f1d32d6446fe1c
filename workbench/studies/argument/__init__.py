"""Evidence collected into an argument, and written down for a mailing list, a page or a table."""

from workbench.studies.argument._collect import Argument, Claim, EvidenceError
from workbench.studies.argument._compared import compared
from workbench.studies.argument._document import Document, Section
from workbench.studies.argument._evidence import Evidence, Memory, Mistakes, Pins, Published, Times, grid
from workbench.studies.argument._mail import mail_note, mail_table

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
