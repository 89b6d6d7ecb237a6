"""Every equation of some notes, run: where it holds, where not, and what is right.

`audit_notes()` audits the course notes; `equation` marks an equation of one's own notes, which
`conformance audit my_notes.py` audits. The flow goes one way: the definition gives the right values,
`settings` the networks, `equations` and `own` the rows, `run` the verdicts, `formats` and the page what is
shown.
"""

from conformance.audit.own import AuditError, audit_file, equation
from conformance.audit.run import audit_notes

__all__ = ["AuditError", "audit_file", "audit_notes", "equation"]
