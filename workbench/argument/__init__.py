"""Evidence collected into an argument, and written down for a mailing list, a page or a table."""

from workbench.argument.mail import mail_note, mail_table

__all__ = ["mail_note", "mail_table"]
