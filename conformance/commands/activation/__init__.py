"""Is a hand-written σ' the derivative of σ? Everywhere, with proof: `conformance activation`.

workers (user code: evaluated, on floats and on Taylor balls) ──> facts ──> judge ──> check
                                                                                       │
                                                 terminal · JSON · report · pytest  <──┘
"""
