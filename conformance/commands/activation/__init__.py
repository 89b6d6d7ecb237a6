"""Is σ' the derivative of σ? On the whole line of floats, with proof: `conformance activation`.

workers (user code: evaluated, on floats and on Taylor balls) ──> facts ──> judge ──> check
                                                                                       │
                                                 terminal · JSON · report · pytest  <──┘
"""
