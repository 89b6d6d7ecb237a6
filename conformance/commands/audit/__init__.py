"""Every equation of some notes, run: where it holds, where not, and what is right.

`audit_notes()` audits the course notes; `equation` marks an equation of one's own notes, which
`conformance audit my_notes.py` audits, in a process of its own. The flow goes one way: `right` has the right
values, by definition, `methods` those of optimizers and batch norm, `settings` the networks, `net` what an
equation reads of one, `equations` and `own` the rows; `run` tries them, `compare` each try, `verdict` all of
them, with the slip that was made from `slips`; `symbols` warns where LaTeX and code differ; `formats` and the
page show it.
"""
