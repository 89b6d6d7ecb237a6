"""Worked examples for a course: a network small enough for paper, every step of it in the notes' order.

`source` reads a TOML file and knows its lines, `fields` what stands in it, `example` what goes together;
`passes` computes it with refbp; `steps` writes the passes down as a list of `step` that all formats share,
`why` says why, `followed` takes one weight, `recount` does them again from rounded numbers; `agreement` holds
every number to the certified truth, and asks who else agrees; `variants` draws other numbers; `document` puts
it together. `graph` and `circuit` draw; `layout` says where a formula may be broken; `html`, `tex`, `tikz`,
`paper`, `md` and `ipynb` only show it. `checking` is what a notebook says of an answer, which it holds to the
`lines`; a notebook carries both (`vendored`).
"""
