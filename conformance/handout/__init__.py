"""Worked examples for a course: a network small enough for paper, every step of it in the notes' order.

`example` reads a TOML file; `passes` computes it with refbp; `steps` writes the passes down as a list that
all formats share; `agreement` holds every number to the certified truth, and asks who else agrees;
`document` puts it together; `html`, `tex`, `md` and `ipynb` only show it.
"""
