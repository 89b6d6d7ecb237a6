"""What passes between the rooms: a problem, its trace, results and their file."""
