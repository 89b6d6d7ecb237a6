"""`conformance grade`: a student's file and a rubric in, a grade out.

rubric ──> grade (submission: the file in a process of its own; judge) ──> formats
  └──────> package (what Gradescope is given)
"""
